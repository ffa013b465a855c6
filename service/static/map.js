// The map page: choose a forecast, show it next to the observed field, step through its leads.
import { readGrid } from "./coverage.js";
import { degrees, drawLegend, drawMap, geometry } from "./drawing.js";
import { moment } from "./moments.js";
import { showQuality } from "./quality.js";
import { drawSeries } from "./series.js";
import * as service from "./service.js";
import { ahead, clock, isKelvin, number, unitText, ZERO_CELSIUS } from "./words.js";

const FRAME_MILLISECONDS = 700;
const LOOK_AGAIN_MILLISECONDS = 15000;
const OWN = "own file";
const at = (id) => document.getElementById(id);
const state = { grid: null, truth: null, name: "", lead: 0, cell: null, place: null, timer: 0, last: null,
  quality: null, source: false, calendar: "standard", clock: null };

function say(text, fault = false) {
  at("status").textContent = text;
  at("status").classList.toggle("fault", fault);
}

const model = () => at("model").value;
const guarded = (action) => (...given) => Promise.resolve(action(...given)).catch((error) => say(error.message, true));

async function loadModels() {
  const { models } = await service.models();
  at("model").replaceChildren(...models.map(({ name }) => new Option(name.replaceAll("_", " "), name)));
  at("model-label").hidden = models.length < 2;
  await describe();
}

/** Show the input that the chosen model needs, and its newest forecast if the server has data. */
async function describe() {
  const found = await service.describe(model());
  const { variables, grid, frames, step, leads } = found.input;
  state.calendar = found.input.calendar;
  state.clock = clock(step);
  const named = variables.map((v) => (v.units ? `${v.name} (${v.units})` : v.name)).join(", ");
  const size = grid.dims.map((dim) => grid[dim].size).join(" × ");
  at("needs").textContent = `A NetCDF file with ${named} on the model's grid of ${size} points and at least ` +
    `${frames.span} times, ${step.label} apart. The forecast then adds ${leads} times.`;
  state.source = found.data_source;
  state.quality = null;
  say("");
  if (!found.data_source) return;
  const { forecasts, newest_frame: frame } = await lookAgain();
  const newest = forecasts.at(-1);
  const made = () => service.latest(model(), state.calendar);
  if (newest && !(newest.reference_time < frame)) await showStored(at("reference").value);
  else if (newest) await showOwn(made, "the newest data"); // older times are still being forecast
  else await show(made, null, "the newest data");
}

/** Load the stored forecasts and their scores, which change while the page is open. */
async function lookAgain() {
  const [listed, quality] = await Promise.all([service.list(model()), service.verification(model())]);
  const kept = at("reference").value;
  const options = [...listed.forecasts].reverse()
    .map(({ id, reference_time: time }) => new Option(state.clock.said(moment(time, state.calendar)), id));
  if (kept === OWN) options.unshift(at("reference").selectedOptions[0]);
  at("reference").replaceChildren(...options);
  if (options.some((option) => option.value === kept)) at("reference").value = kept;
  at("choice").hidden = !options.length;
  state.quality = quality;
  showQuality(quality, state.name);
  stepButtons();
  return listed;
}

function showStored(name) {
  at("reference").value = name;
  stepButtons();
  return show(() => service.stored(model(), name, state.calendar),
    () => service.truth(model(), name, state.calendar).catch(() => null));
}

const upload = (file) => showOwn(() => service.upload(model(), file, state.calendar), file.name);

/** Show a forecast that is not stored, and offer it first in the list. */
async function showOwn(request, from) {
  const done = await show(request, null, from);
  if (!done) return;
  [...at("reference").options].filter((option) => option.value === OWN).forEach((option) => option.remove());
  at("reference").prepend(new Option(`${state.clock.said(state.grid.reference)}, from ${from}`, OWN));
  at("reference").value = OWN;
  at("choice").hidden = false;
  stepButtons();
}

/** Request a forecast and, if available, the observed field; show both. */
async function show(request, truthRequest, from) {
  const turn = {};
  state.last = turn;
  say(from ? `Making a forecast from ${from} …` : "Loading …");
  try {
    const [forecast, truth] = await Promise.all([request(), truthRequest ? truthRequest() : null]);
    if (state.last !== turn) return false; // a later forecast was requested
    const grid = readGrid(forecast, state.calendar);
    const same = state.grid && state.grid.x.length === grid.x.length && state.grid.y.length === grid.y.length;
    Object.assign(state, {
      grid,
      truth: truth && readGrid(truth, state.calendar),
      name: grid.names.includes(state.name) ? state.name : grid.names[0],
      lead: Math.min(state.lead, grid.times.length - 1),
      cell: same ? state.cell : middle(grid),
    });
    at("variable").replaceChildren(...grid.names.map((name) => new Option(grid.label(name), name)));
    at("variable").value = state.name;
    at("variable-label").hidden = grid.names.length < 2;
    at("lead").max = grid.times.length - 1;
    at("view").hidden = false;
    at("remark").textContent = grid.remarks.join(" ");
    at("remark").hidden = !grid.remarks.length;
    at("origin").textContent = `Made by the model ${grid.model}, version ${grid.version}. All times are UTC.`;
    say("");
    drawAll();
    return true;
  } catch (error) {
    if (state.last === turn) say(error.message, true);
    return false;
  }
}

const middle = (grid) => ({ row: Math.floor(grid.y.length / 2), column: Math.floor(grid.x.length / 2) });
const truthHere = () => (state.truth?.names.includes(state.name) ? state.truth : null);
const shift = () => (isKelvin(state.grid.units(state.name)) && at("units").value === "°C" ? -ZERO_CELSIUS : 0);
const units = () => (shift() ? "°C" : unitText(state.grid.units(state.name)));
const span = () => state.limits[1] - state.limits[0];
const shown = (value) => (value === null ? null : value + shift());
const written = (value) => (value === null ? "no value" : `${number(shown(value), span())} ${units()}`.trim());
const title = (grid, name) => grid.label(name).replace(/^./, (letter) => letter.toUpperCase());

function drawAll() {
  const { grid, name } = state;
  if (!grid) return;
  const both = [grid.limits(name), truthHere()?.limits(name)].filter(Boolean);
  state.limits = both.length ? [Math.min(...both.map((l) => l[0])), Math.max(...both.map((l) => l[1]))] : [0, 1];
  at("units-label").hidden = !isKelvin(grid.units(name));
  const known = truthHere() && grid.times.some((_, i) => truthHere().hasValues(name, i));
  at("truth-pane").hidden = !known;
  at("future").hidden = !truthHere() || known || at("reference").options.length < 2;
  const what = units() ? `${title(grid, name)} in ${units()}` : title(grid, name);
  at("legend-title").textContent = what;
  drawLegend(at("legend"), state.limits, shift());
  at("legend").setAttribute("aria-label", `Colors: ${what}, dark is low and bright is high`);
  showQuality(state.quality, name);
  drawLead();
}

function drawLead() {
  const { grid, name, lead, cell, limits } = state;
  if (!grid) return;
  const truth = truthHere();
  const far = ahead(grid.reference, grid.times[lead]);
  const [then, known] = [grid.times[lead], grid.reference].map(state.clock.said);
  at("title").textContent = `${title(grid, name)} ${state.clock.at} ${then}`;
  at("times").textContent = `Forecast for ${far} ahead, made from what was known ${state.clock.at} ${known}.`;
  at("lead").value = lead;
  at("lead-text").textContent = `+ ${far}`;
  at("lead").setAttribute("aria-valuetext", `${far} ahead, ${then}`);
  state.place = drawMap(at("map"), grid, name, lead, limits, cell);
  at("map").setAttribute("aria-label", `Map of ${at("title").textContent}; ${cellText()}`);
  if (!at("truth-pane").hidden) {
    at("truth-note").textContent = truth.hasValues(name, lead) ? "" : "(not known yet)";
    drawMap(at("truth"), truth, name, lead, limits, cell);
    at("truth").setAttribute("aria-label", `Map of the observed field ${at("truth-note").textContent}`);
  }
  drawCell();
}

function cellText() {
  const { grid, name, lead, cell } = state;
  const [x, y] = [grid.x[cell.column], grid.y[cell.row]];
  const place = grid.geographic ? `${degrees(y, "y")}, ${degrees(x, "x")}` : `y ${y}, x ${x}`;
  return `${place}: ${written(grid.value(name, lead, cell.row, cell.column))}`;
}

function drawCell() {
  const { grid, name, lead, cell } = state;
  const along = (source, which) => source.times.map((_, i) => shown(source.value(which, i, cell.row, cell.column)));
  const forecast = along(grid, name);
  const observed = truthHere() && along(truthHere(), name);
  const truth = observed?.some((value) => value !== null) ? observed : null;
  const bands = grid.bands(name).map((level) => (
    { level, lower: along(grid, `${name}_lower_${level}`), upper: along(grid, `${name}_upper_${level}`) }));
  at("cell").textContent = `${cellText()}${truth && truth[lead] !== null
    ? `, observed ${number(truth[lead], span())} ${units()}` : ""}`;
  drawSeries(at("series"), { times: grid.times, forecast, truth, bands, lead, units: units(),
    lines: state.clock.lines });
  at("series").setAttribute("aria-label", `Time series at ${cellText()}; the numbers are in the table below`);
  document.querySelector("#series-key .truth").hidden = !truth;
  for (const level of [80, 95]) {
    document.querySelector(`#series-key .band${level}`).hidden = !bands.some((band) => band.level === level);
  }
  fillTable(forecast, truth, bands);
}

function fillTable(forecast, truth, bands) {
  const { grid } = state;
  const text = (value) => (value === null ? "no value" : number(value, span()));
  const heads = ["Ahead", "Time", `Forecast${units() && `, ${units()}`}`,
    ...bands.map(({ level }) => `${level} % of the time`), ...(truth ? ["Observed"] : [])];
  const rows = forecast.map((value, i) => [ahead(grid.reference, grid.times[i]), state.clock.said(grid.times[i]), text(value),
    ...bands.map(({ lower, upper }) => `${text(lower[i])} to ${text(upper[i])}`), ...(truth ? [text(truth[i])] : [])]);
  const line = (cells, tag) => {
    const row = document.createElement("tr");
    cells.forEach((content, i) => {
      const cell = document.createElement(tag);
      cell.textContent = content;
      if (tag === "td" && i > 1) cell.className = "number";
      row.append(cell);
    });
    return row;
  };
  at("values").replaceChildren(line(heads, "th"), ...rows.map((row) => line(row, "td")));
}

function step(by) {
  const n = state.grid.times.length;
  state.lead = (state.lead + by + n) % n;
  drawLead();
}

/** The next older (1) or newer (-1) forecast of the list. */
async function stepReference(by) {
  const options = at("reference").options;
  const next = options[at("reference").selectedIndex + by];
  if (next && next.value !== OWN) await showStored(next.value);
}

function stepButtons() {
  const { selectedIndex, options } = at("reference");
  at("older").disabled = selectedIndex >= options.length - 1;
  at("newer").disabled = selectedIndex <= 0 || options[selectedIndex - 1].value === OWN;
}

function pause() {
  clearInterval(state.timer);
  state.timer = 0;
  at("play").textContent = "Play";
  at("play").setAttribute("aria-pressed", "false");
}

function toggle() {
  if (state.timer) {
    pause();
    return;
  }
  state.timer = setInterval(() => step(1), FRAME_MILLISECONDS);
  at("play").textContent = "Pause";
  at("play").setAttribute("aria-pressed", "true");
}

function move(down, right) {
  const { place, cell, grid } = state;
  const clamp = (rank, length) => Math.min(Math.max(rank, 0), length - 1);
  state.cell = {
    row: place.index.row(clamp(place.rank.row(cell.row) - down, grid.y.length)),
    column: place.index.column(clamp(place.rank.column(cell.column) + right, grid.x.length)),
  };
  drawLead();
}

const KEYS = {
  ArrowUp: () => move(-1, 0), ArrowDown: () => move(1, 0), ArrowLeft: () => move(0, -1), ArrowRight: () => move(0, 1),
  ",": () => step(-1), ".": () => step(1), " ": toggle,
  "[": guarded(() => stepReference(1)), "]": guarded(() => stepReference(-1)),
};

at("map").addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || !state.grid || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
for (const id of ["map", "truth"]) {
  at(id).addEventListener("click", (event) => {
    const place = geometry(state.grid, at(id).clientWidth);
    const cell = { row: place.row(event.offsetY), column: place.column(event.offsetX) };
    if (cell.row < 0 || cell.column < 0) return;
    state.cell = cell;
    drawLead();
  });
}
at("play").addEventListener("click", toggle);
at("lead").addEventListener("input", () => {
  pause();
  state.lead = Number(at("lead").value);
  drawLead();
});
at("variable").addEventListener("change", () => {
  state.name = at("variable").value;
  drawAll();
});
at("units").addEventListener("change", drawAll);
at("reference").addEventListener("change", guarded(() => at("reference").value !== OWN && showStored(at("reference").value)));
at("older").addEventListener("click", guarded(() => stepReference(1)));
at("newer").addEventListener("click", guarded(() => stepReference(-1)));
at("model").addEventListener("change", guarded(() => {
  state.grid = null;
  at("view").hidden = true;
  at("reference").replaceChildren();
  pause();
  return describe();
}));
at("key").addEventListener("change", guarded(loadModels));
at("file").addEventListener("change", () => {
  if (at("file").files.length) upload(at("file").files[0]);
  at("file").value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) upload(event.dataTransfer.files[0]);
  });
}
let resizing = 0;
window.addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(drawAll);
});
setInterval(() => {
  if (state.source && !document.hidden) lookAgain().catch(() => {});
}, LOOK_AGAIN_MILLISECONDS);
guarded(loadModels)();
