// Moves the chosen place and the view, by keys and buttons.
import { look } from "./panes.js";
import { drawLead, drawSoon } from "./screen.js";
import { center, chooseAt, state } from "./state.js";

const ZOOM = 1.6;
const PAN = 0.25;

/** Choose the cell so many rows up and columns to the right; a globe goes on at its other side. */
export function move(up, right) {
  const { cell, grid: { rows, columns } } = state;
  const clamp = (rank, size) => Math.min(Math.max(rank, 0), size - 1);
  const column = cell.column + right;
  state.cell = {
    row: clamp(cell.row + up, rows.size),
    column: columns.closed ? (column + columns.size) % columns.size : clamp(column, columns.size),
  };
  reveal();
}

/** Choose the place of a click, if the grid has it. */
export function choose(target) {
  if (chooseAt(target)) drawLead();
}

/** Draw the chosen place, and move the view to it if it is outside. */
export function reveal(closer = false) {
  const { view } = state;
  const { x, y } = center();
  const hidden = !view.turns(x, x).length || view.py(y) < 0 || view.py(y) > view.height;
  if (hidden || closer) look([x, y], closer && view.transform.k < 2 ? 2 : 1);
  drawLead();
}

export function zoomBy(factor) {
  look(state.view.center, factor);
  drawSoon();
}

/** Move the view by parts of its size. */
function pan(across, up) {
  const { view } = state;
  look([view.x(view.width * (0.5 + across)), view.y(view.height * (0.5 - up))], 1);
  drawSoon();
}

/** Show the whole area of the forecast. */
export function showWhole() {
  look(state.view.middle, 1 / state.view.transform.k);
  drawSoon();
}

/** What each key on the map does. */
export const KEYS = {
  ArrowUp: () => move(1, 0), ArrowDown: () => move(-1, 0), ArrowLeft: () => move(0, -1), ArrowRight: () => move(0, 1),
  "Shift+ArrowUp": () => pan(0, PAN), "Shift+ArrowDown": () => pan(0, -PAN),
  "Shift+ArrowLeft": () => pan(-PAN, 0), "Shift+ArrowRight": () => pan(PAN, 0),
  "+": () => zoomBy(ZOOM), "=": () => zoomBy(ZOOM), "-": () => zoomBy(1 / ZOOM), 0: showWhole,
};

/** The buttons on the map. */
export const BUTTONS = { "zoom-in": KEYS["+"], "zoom-out": KEYS["-"], whole: showWhole };
