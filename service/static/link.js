// A link that holds the state of the page, after the number sign of its address.
import { turned } from "./coordinates.js";
import { at } from "./page.js";
import { center, chooseAt, state } from "./state.js";

const QUIET_MILLISECONDS = 250;
let timer = 0;
const rounded = (value) => Number(value.toFixed(4));
const numbersOf = (text) => (text ?? "").split(",").map(Number);

/** The settings of the address, as texts. */
export const readLink = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Write the state into the address once nothing has changed for a moment; browsers allow few writes a second. */
export function keepLink(reference) {
  clearTimeout(timer);
  timer = setTimeout(() => state.grid && writeLink(reference()), QUIET_MILLISECONDS);
}

/** Write the state into the address; a forecast of an own file is on this computer only and has no name. */
export function writeLink(reference) {
  const { view } = state;
  const written = (x) => rounded(state.grid.geographic ? turned(x) : x);
  const [x, y] = view.center;
  const { x: column, y: row } = center();
  const found = new URLSearchParams({
    model: at("model").value,
    ...(reference ? { forecast: reference } : {}),
    show: state.name, ahead: state.lead + 1,
    place: `${rounded(row)},${written(column)}`,
    map: [rounded(y), written(x), rounded(view.transform.k)].join(","),
    draw: state.smooth ? "smooth" : "cells", time: state.clock,
    ...(state.units.length ? { units: state.units.join(",") } : {}),
  });
  history.replaceState(null, "", `#${found.toString().replaceAll("%2C", ",")}`);
}

/** Take over settings that do not depend on a forecast. */
export function applySettings(link) {
  if (link.units) state.units = link.units.split(",");
  if (link.draw) state.smooth = link.draw !== "cells";
  if (link.time) state.clock = link.time === "own" ? "own" : "place";
  at("draw").value = state.smooth ? "smooth" : "cells";
  at("clock").value = state.clock;
}

/** Take over variable, time, place and view, as far as the forecast has them. */
export function applyLink(link) {
  const { grid, view } = state;
  if (grid.names.includes(link.show)) state.name = link.show;
  if (link.ahead >= 1) state.lead = Math.min(Math.floor(link.ahead), grid.times.length) - 1;
  const [y, x] = numbersOf(link.place);
  if (Number.isFinite(x) && Number.isFinite(y)) chooseAt({ x, y });
  const [latitude, longitude, zoom] = numbersOf(link.map);
  if ([latitude, longitude, zoom].every(Number.isFinite) && zoom > 0) view.look([longitude, latitude], zoom);
}
