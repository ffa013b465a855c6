// Draws the state: maps, legend, text, and the series of the chosen place.
import { drawMap } from "./drawing.js";
import { drawLegend } from "./legend.js";
import { localText, nearText } from "./localtime.js";
import { at, beforePaint } from "./page.js";
import { measure } from "./panes.js";
import { showQuality } from "./quality.js";
import { drawSeries } from "./series.js";
import { localClock, placeText, point, state, title, truthHere, unitOf, valueHere, written } from "./state.js";
import { fillValues, fillVariables, seriesHere } from "./values.js";
import { ahead } from "./words.js";

const drawn = [];

/** Call an action after the state was drawn. */
export const whenDrawn = (action) => drawn.push(action);

/** Draw everything, after another forecast, variable or unit was chosen. */
export function drawAll() {
  const { grid, name } = state;
  if (!grid) return;
  const both = [grid.limits(name), truthHere()?.limits(name)].filter(Boolean);
  state.limits = both.length ? [Math.min(...both.map((l) => l[0])), Math.max(...both.map((l) => l[1]))] : [0, 1];
  const unit = unitOf(name);
  at("variable").value = name;
  at("units").replaceChildren(...unit.choices.map((label) => new Option(label)));
  at("units").value = unit.label;
  at("units-label").hidden = unit.choices.length < 2;
  const known = truthHere() && grid.times.some((_, i) => truthHere().hasValues(name, i));
  at("truth-pane").hidden = !known;
  at("future").hidden = !truthHere() || known || at("reference").options.length < 2;
  const gaps = grid.hasGaps(name);
  const what = unit.label ? `${title(name)} in ${unit.label}` : title(name);
  at("legend-title").textContent = gaps ? `${what}; gray: no value` : what;
  drawLegend(at("legend"), state.limits, unit);
  at("legend").setAttribute("aria-label",
    `Colors: ${what}, from ${written(state.limits[0])}, dark, to ${written(state.limits[1])}, bright`);
  drawQuality();
  measure();
  drawLead();
}

/** Draw what the choice of the time changes. */
export function drawLead() {
  const { grid, name, lead, times } = state;
  if (!grid) return;
  const far = ahead(grid.reference, grid.times[lead]);
  const [then, known] = [grid.times[lead], grid.reference].map(times.said);
  at("title").textContent = `${title(name)} ${times.at} ${then}`;
  at("times").textContent = `Forecast for ${far} ahead, made from what was known ${times.at} ${known}.`;
  at("lead").value = lead;
  at("lead-text").textContent = `+ ${far}`;
  at("lead").setAttribute("aria-valuetext", `${far} ahead, ${then}`);
  if (!at("truth-pane").hidden) {
    at("truth-note").textContent = truthHere().hasValues(name, lead) ? "" : "(not known yet)";
    at("truth").setAttribute("aria-label", `Map of the observed field ${at("truth-note").textContent}`);
  }
  drawCell();
  drawMaps();
}

/** Draw the maps only, after they were moved. */
export function drawMaps() {
  const { grid, view, name, lead, cell, limits, smooth, places: names } = state;
  const draw = (canvas, source) => (
    drawMap(canvas, view, { values: source.field(name, lead), limits, smooth, cell, names, ready: drawSoon }));
  draw(at("map"), grid);
  if (!at("truth-pane").hidden) draw(at("truth"), truthHere());
  drawn.forEach((action) => action());
}

/** Draw the maps before the next picture. */
export const drawSoon = beforePaint(() => state.grid && drawMaps());

export function drawQuality() {
  if (state.grid) showQuality(state.quality, state.name, unitOf(state.name));
}

function drawCell() {
  const { grid, name, lead, times } = state;
  const series = seriesHere();
  const clock = localClock();
  const here = `${placeText()}: ${written(valueHere(grid, name, lead))}`;
  const observed = series.truth && valueHere(truthHere(), name, lead);
  at("local").textContent = clock ? localText(grid.times[lead], clock) : "";
  at("clock-label").hidden = !clock;
  at("near").textContent = point() ? nearText(state.places, point()) : "";
  at("cell").textContent = observed === null ? here : `${here}, observed ${written(observed)}`;
  at("map").setAttribute("aria-label", `Map of ${at("title").textContent}. Chosen place: ${at("cell").textContent}`);
  drawSeries(at("series"), { ...series, times: grid.times, lead, units: unitOf(name).label, lines: times.lines,
    note: times.hours ? "times in UTC" : "" });
  at("series").setAttribute("aria-label", `Time series at ${here}; the numbers are in the table below`);
  document.querySelector("#series-key .truth").hidden = !series.truth;
  for (const level of [80, 95]) {
    document.querySelector(`#series-key .band${level}`).hidden = !series.bands.some((band) => band.level === level);
  }
  fillValues(series);
  fillVariables((chosen) => {
    state.name = chosen;
    drawAll();
  });
}
