// The two maps: they show the same part of the world, and are moved and zoomed together.
import { select, zoom, zoomIdentity } from "./d3.js";
import { at, beforePaint } from "./page.js";
import { state } from "./state.js";
import { View } from "./view.js";

const canvases = ["map", "truth"].map(at);
const gesture = zoom();

/** Call `moved` when the view changes, `chosen` with the coordinates of a click, and `pointed` with those of the mouse. */
export function connect({ moved, chosen, pointed }) {
  const draw = beforePaint(moved);
  gesture.on("zoom", ({ transform, sourceEvent }) => {
    if (!state.view || !sourceEvent) return;
    state.view.transform = { k: transform.k, x: transform.x, y: transform.y };
    share();
    draw();
  });
  const where = (event) => ({ x: state.view.x(event.offsetX), y: state.view.y(event.offsetY) });
  for (const canvas of canvases) {
    select(canvas).call(gesture).on("dblclick.zoom", null); // two clicks choose a cell, the second the same one
    canvas.addEventListener("click", (event) => state.view && chosen(where(event)));
    canvas.addEventListener("pointermove", (event) => state.view && pointed(where(event), canvas));
    canvas.addEventListener("pointerleave", () => pointed(null, canvas));
  }
  new ResizeObserver(beforePaint(() => state.view && (measure(), moved()))).observe(at("map"));
}

/** Show a grid: the whole of it, or the same part as before if the grid is the same. */
export function place(grid, same) {
  if (!same) state.view = new View(grid.columns, grid.rows, grid.geographic);
  measure();
}

/** Lay the maps out side by side or one below the other, whichever is larger, and adapt the view to their size. */
export function measure() {
  const { clientWidth: wide, clientHeight: tall } = at("maps");
  const { aspect } = state.view;
  const size = (width, height) => Math.min(width / aspect, height);
  at("maps").classList.toggle("stacked", size(wide / 2, tall) < size(wide, tall / 2));
  state.view.fit(at("map").clientWidth, at("map").clientHeight);
  share();
}

/** Look at a center, zoomed by a factor of the present zoom. */
export function look(center, factor) {
  state.view.look(center, state.view.transform.k * factor);
  share();
}

/** Let both maps go on from the same transform. */
function share() {
  const { transform: { k, x, y }, zooms, limits } = state.view;
  gesture.scaleExtent(zooms).translateExtent(limits);
  for (const canvas of canvases) canvas.__zoom = zoomIdentity.translate(x, y).scale(k);
}
