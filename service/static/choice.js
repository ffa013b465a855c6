// The choice of model and forecast: newest, stored, or from an own file.
import { readGrid } from "./coverage.js";
import { applyLink } from "./link.js";
import { moment } from "./moments.js";
import { at, say } from "./page.js";
import { place } from "./panes.js";
import { drawAll, drawQuality } from "./screen.js";
import * as service from "./service.js";
import { chooseNear, state, title } from "./state.js";
import { clock } from "./words.js";

const OWN = "own file";
const model = () => at("model").value;
let newestTurn = null;
let link = {};

/** The address of the shown forecast on the server, empty for that of an own file. */
export const reference = () => (at("reference").value === OWN ? "" : at("reference").value);

/** Offer all models, and show a forecast of the first one or of the one in a link. */
export async function loadModels(from = {}) {
  link = from;
  const { models } = await service.models();
  const names = models.map(({ name }) => name);
  at("model").replaceChildren(...names.map((name) => new Option(name.replaceAll("_", " "), name)));
  if (names.includes(link.model)) at("model").value = link.model;
  at("model-label").hidden = models.length < 2;
  await describe();
}

/** Show the input that the chosen model needs, and its newest forecast if the server has data. */
export async function describe() {
  const found = await service.describe(model());
  const { variables, grid, frames, step, leads } = found.input;
  state.calendar = found.input.calendar;
  state.times = clock(step);
  const named = variables.map((v) => (v.units ? `${v.name} (${v.units})` : v.name)).join(", ");
  const size = grid.dims.map((dim) => grid[dim].size).join(" × ");
  at("needs").textContent = `A NetCDF file of observations with ${named} on the model's grid of ${size} points and at ` +
    `least ${frames.span} times, ${step.label} apart. The forecast then adds ${leads} times. A file that holds a ` +
    "forecast itself is refused.";
  state.source = found.data_source;
  state.quality = null;
  say("");
  if (!found.data_source) {
    at("status").textContent = "This server has no observations of its own. Choose a file of yours to see a forecast.";
    return;
  }
  const { forecasts, newest_frame: frame } = await lookAgain();
  const newest = forecasts.at(-1);
  const wanted = link.forecast;
  if (wanted && [...at("reference").options].some(({ value }) => value === wanted)) await showStored(wanted);
  else if (newest && !(newest.reference_time < frame)) await showStored(at("reference").value);
  else if (newest) await showOwn(service.latest(model()), "the newest data"); // older times are still being forecast
  else await show(service.latest(model()), null, "the newest data");
  if (wanted && wanted !== reference() && state.grid) {
    say("The forecast of the link is not stored on this server any more. The newest one is shown.");
  }
}

/** Load the stored forecasts and their scores, which change while the page is open. */
export async function lookAgain() {
  const [listed, quality] = await Promise.all([service.list(model()), service.verification(model())]);
  const kept = at("reference").value;
  const options = [...listed.forecasts].reverse()
    .map(({ id, reference_time: time }) => new Option(state.times.said(moment(time, state.calendar)), id));
  if (kept === OWN) options.unshift(at("reference").selectedOptions[0]);
  at("reference").replaceChildren(...options);
  if (options.some((option) => option.value === kept)) at("reference").value = kept;
  at("choice").hidden = !options.length;
  state.quality = quality;
  drawQuality();
  stepButtons();
  return listed;
}

export function showStored(name) {
  at("reference").value = name;
  stepButtons();
  return show(service.stored(model(), name), service.truth(model(), name));
}

export const upload = (file) => showOwn(service.upload(model(), file), file.name);

/** Show a forecast that is not stored, and offer it first in the list. */
async function showOwn(request, from) {
  if (!await show(request, null, from)) return;
  [...at("reference").options].filter((option) => option.value === OWN).forEach((option) => option.remove());
  at("reference").prepend(new Option(`${state.times.said(state.grid.reference)}, from ${from}`, OWN));
  at("reference").value = OWN;
  at("choice").hidden = false;
  stepButtons();
}

/** Request a forecast and, if available, the observed field; show both. */
async function show(request, truthRequest, from) {
  const turn = {};
  newestTurn = turn;
  say(from ? `Making a forecast from ${from} …` : "Loading …");
  try {
    const known = truthRequest && service.fields(truthRequest, state.calendar).catch(() => null);
    const [forecast, truth] = await Promise.all([service.fields(request, state.calendar), known]);
    if (newestTurn !== turn) return false; // a later forecast was requested
    say("");
    take(request, readGrid(forecast, state.calendar), truth && readGrid(truth, state.calendar));
    return true;
  } catch (error) {
    if (newestTurn === turn) say(error.message, true);
    return false;
  }
}

function take(request, grid, truth) {
  const same = sameAxis(state.grid?.columns, grid.columns) && sameAxis(state.grid?.rows, grid.rows);
  Object.assign(state, {
    request, grid, truth,
    name: grid.names.includes(state.name) ? state.name : grid.names[0],
    lead: Math.min(state.lead, grid.times.length - 1),
  });
  at("variable").replaceChildren(...grid.names.map((name) => new Option(title(name), name)));
  at("variable-label").hidden = grid.names.length < 2;
  at("lead").max = grid.times.length - 1;
  at("view").hidden = false;
  at("search").hidden = false;
  at("wanted").placeholder = grid.geographic ? "Town, or 48.1, 11.6" : "x, y";
  at("remark").textContent = grid.remarks.join(" ");
  at("remark").hidden = !grid.remarks.length;
  at("origin").textContent = `Made by the model ${grid.model}, version ${grid.version}.`;
  place(grid, same);
  if (!same) chooseNear({ x: state.view.middle[0], y: state.view.middle[1] });
  applyLink(link);
  link = {};
  drawAll();
}

const sameAxis = (a, b) => a?.size === b.size && a.low === b.low && a.high === b.high;

/** The next older (1) or newer (-1) forecast of the list. */
export async function stepReference(by) {
  const options = at("reference").options;
  const next = options[at("reference").selectedIndex + by];
  if (next && next.value !== OWN) await showStored(next.value);
}

function stepButtons() {
  const { selectedIndex, options } = at("reference");
  at("older").disabled = selectedIndex >= options.length - 1;
  at("newer").disabled = selectedIndex <= 0 || options[selectedIndex - 1].value === OWN;
}
