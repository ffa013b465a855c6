// The state of the page, and what follows from it.
import { clockOf } from "./localtime.js";
import { degrees } from "./coordinates.js";
import { shownIn } from "./units.js";
import { number } from "./words.js";

/** `grid` and `truth` are read answers; `cell` holds ranks of row and column; `request` can be asked again in another
 * format; `units` are chosen labels; `clock` is that of the place or of the reader. */
export const state = {
  grid: null, truth: null, view: null, request: null, places: null, quality: null,
  name: "", lead: 0, cell: null, limits: [0, 1],
  units: [], smooth: true, clock: "place",
  calendar: "standard", times: null, source: false,
};

/** The observed fields, if they hold the chosen variable. */
export const truthHere = () => (state.truth?.names.includes(state.name) ? state.truth : null);

/** How a variable is shown: label of its unit, and conversions of values and differences. */
export const unitOf = (name) => shownIn(state.grid.units(name), state.units, `${name} ${state.grid.label(name)}`);

/** The cell with these coordinates, as ranks of row and column; null if they lie outside of the grid. */
export function cellAt({ x, y }) {
  const cell = { row: state.grid.rows.rank(y), column: state.grid.columns.rank(x) };
  return cell.row < 0 || cell.column < 0 ? null : cell;
}

/** A value of a cell, in the unit of the file. */
export const valueAt = (source, name, lead, { row, column }) => (
  source.value(name, lead, state.grid.rows.indices[row], state.grid.columns.indices[column]));

/** A value of the chosen cell, in the unit of the file. */
export const valueHere = (source, name, lead) => valueAt(source, name, lead, state.cell);

/** Coordinates of the center of a cell, by default of the chosen one. */
export const center = ({ row, column } = state.cell) => ({ x: state.grid.columns.centers[column], y: state.grid.rows.centers[row] });

/** The chosen cell as latitude and longitude, null on a plane. */
export const point = () => (state.grid.geographic ? { latitude: center().y, longitude: center().x } : null);

export function placeText({ x, y } = center()) {
  return state.grid.geographic ? `${degrees(y, "y")}, ${degrees(x, "x")}` : `y ${y}, x ${x}`;
}

/** A value with its unit, with as many decimals as the range of the variable needs. */
export function written(value, name = state.name) {
  if (value === null || Number.isNaN(value)) return "no value";
  const unit = unitOf(name);
  return `${decimals(unit.value(value), name)} ${unit.label}`.trim();
}

/** A number in the shown unit, rounded for its variable. */
export function decimals(value, name = state.name) {
  const [low, high] = (name === state.name ? state.limits : state.grid.limits(name)) ?? [0, 1];
  return value === null ? "no value" : number(value, unitOf(name).difference(high - low));
}

export const title = (name) => state.grid.label(name).replace(/^./, (letter) => letter.toUpperCase());

/** The local clock of the chosen cell; null for times without hours or of another calendar. */
export const localClock = () => (state.times.hours && state.grid.reference instanceof Date
  ? clockOf(state.places, point(), state.clock) : null);

/** Choose the cell with these coordinates; false if they lie outside of the grid. */
export function chooseAt(where) {
  const cell = cellAt(where);
  state.cell = cell ?? state.cell;
  return cell !== null;
}

/** Choose the cell that is nearest to these coordinates, counted in cells, among those with a value; where none has
 * one, the cell itself. */
export function chooseNear(where) {
  const { rows, columns } = state.grid;
  const middle = cellAt(where);
  let [nearest, least] = [middle, Infinity];
  for (let row = 0; row < rows.size; row += 1) {
    for (let column = 0; column < columns.size; column += 1) {
      const distance = (row - middle.row) ** 2 + (column - middle.column) ** 2;
      if (distance >= least) continue;
      const cell = { row, column };
      if (valueAt(state.grid, state.name, state.lead, cell) !== null) [nearest, least] = [cell, distance];
    }
  }
  state.cell = nearest;
}
