// The numbers of the page as comma-separated text.
import { turned } from "./coordinates.js";
import { state, title, truthHere, unitOf } from "./state.js";
import { seriesHere } from "./values.js";

const quoted = (cell) => (/[",\n\r]/.test(`${cell}`) ? `"${`${cell}`.replaceAll('"', '""')}"` : `${cell ?? ""}`);
const digits = (value) => (value === null || Number.isNaN(value) ? "" : Number(value.toPrecision(7)));
const lines = (rows) => `${rows.map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;
const heading = (words) => {
  const { label } = unitOf(state.name);
  return label ? `${words} (${label})` : words;
};
const axesNames = () => (state.grid.geographic ? ["latitude", "longitude"] : ["y", "x"]);
const across = (x) => digits(state.grid.geographic ? turned(x) : x);

/** The cells in view at the shown time: place, forecast, observed value. */
export function cellsInView() {
  const { grid, view, name, lead } = state;
  const unit = unitOf(name);
  const sources = [grid, truthHere()].filter((source) => source?.hasValues(name, lead)).map((source) => source.field(name, lead));
  const heads = [heading(`${title(name)} forecast`), heading(`${title(name)} observed`)].slice(0, sources.length);
  const rows = [["time", ...axesNames(), ...heads]];
  const time = grid.times[lead].toISOString();
  const [top, bottom] = [view.y(0), view.y(view.height)];
  grid.rows.centers.forEach((y, j) => grid.columns.centers.forEach((x, i) => {
    if (y > top || y < bottom || !view.turns(x, x).length) return;
    rows.push([time, digits(y), across(x), ...sources.map((field) => digits(unit.value(field[j * grid.columns.size + i])))]);
  }));
  return lines(rows);
}

/** The series of the chosen place: forecast, observed value, and bands at each time. */
export function seriesInView() {
  const { grid, name, cell } = state;
  const { forecast, truth, bands } = seriesHere();
  const heads = [heading(`${title(name)} forecast`), ...(truth ? [heading(`${title(name)} observed`)] : []),
    ...bands.flatMap(({ level }) => [heading(`${level} % band from`), heading(`${level} % band to`)])];
  const place = [digits(grid.rows.centers[cell.row]), across(grid.columns.centers[cell.column])];
  return lines([["time", ...axesNames(), ...heads], ...grid.times.map((time, i) => [time.toISOString(), ...place,
    ...[forecast[i], ...(truth ? [truth[i]] : []), ...bands.flatMap(({ lower, upper }) => [lower[i], upper[i]])].map(digits)])]);
}
