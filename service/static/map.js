// The map page: ask for a forecast, show it, step through it.
import { readGrid } from "./coverage.js";
import { degrees, drawLegend, drawMap, drawSeries, geometry } from "./drawing.js";
import { places } from "./colors.js";

const COVERAGE = "application/prs.coverage+json";
const FRAME_MILLISECONDS = 600;
const at = (id) => document.getElementById(id);
const state = { grid: null, name: "", lead: 0, cell: null, place: null, timer: 0, last: null };

function say(text, fault = false) {
  at("status").textContent = text;
  at("status").classList.toggle("fault", fault);
}

/** Ask the server; an error is said in its own words. */
async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (at("key").value) headers["X-API-Key"] = at("key").value;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    at("key-label").hidden = false;
    at("key").focus();
  }
  throw new Error(problem.detail ?? `The server answered ${answer.status}.`);
}

async function loadModels() {
  const { models } = await ask("/v1/models");
  at("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  await describe();
}

/** What the chosen model needs; its newest forecast, if the server has data. */
async function describe() {
  const found = await ask(`/v1/models/${encodeURIComponent(at("model").value)}`);
  const { variables, grid, frames, step, leads } = found.input;
  const named = variables.map((v) => (v.units ? `${v.name} (${v.units})` : v.name)).join(", ");
  const size = grid.dims.map((dim) => grid[dim].size).join(" × ");
  at("needs").textContent = `A file needs ${named} on the model's grid of ${size} points and at least ` +
    `${frames.span} frames, ${step.label} apart. The forecast has ${leads} lead times.`;
  at("latest").hidden = !found.data_source;
  say("");
  if (found.data_source && !state.grid) await latest();
}

function latest() {
  return show(() => ask(`/v1/forecasts/latest?model=${encodeURIComponent(at("model").value)}`,
    { headers: { Accept: COVERAGE } }));
}

function upload(file) {
  return show(() => ask(`/v1/forecasts?model=${encodeURIComponent(at("model").value)}`, {
    method: "POST",
    body: file,
    headers: { Accept: COVERAGE, "Content-Type": "application/x-netcdf" },
  }), file.name);
}

async function show(request, from = "the newest data") {
  const turn = {};
  state.last = turn;
  say(`Forecasting from ${from} …`);
  try {
    const grid = readGrid(await request());
    if (state.last !== turn) return; // a later one was asked for
    pause();
    Object.assign(state, { grid, name: grid.names[0], lead: 0, cell: middle(grid) });
    at("variable").replaceChildren(...grid.names.map((name) => new Option(grid.label(name), name)));
    at("variable").disabled = grid.names.length < 2;
    at("lead").max = grid.times.length - 1;
    at("view").hidden = false;
    at("remark").textContent = grid.remarks.join(" ");
    at("remark").hidden = !grid.remarks.length;
    say("");
    drawAll();
  } catch (error) {
    if (state.last === turn) say(error.message, true);
  }
}

const middle = (grid) => ({ row: Math.floor(grid.y.length / 2), column: Math.floor(grid.x.length / 2) });
const stamp = (time) => `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;

function leadText(grid, lead) {
  const hours = (grid.times[lead] - grid.reference) / 3.6e6;
  return hours % 24 === 0 && hours >= 72 ? `+${hours / 24} d` : `+${Number(hours.toFixed(2))} h`;
}

function drawAll() {
  const { grid, name } = state;
  if (!grid) return;
  const units = grid.units(name);
  state.limits = grid.limits(name);
  drawLegend(at("legend"), state.limits, units && units !== "1" ? `${grid.label(name)}, ${units}` : grid.label(name));
  drawLead();
}

function drawLead() {
  const { grid, name, lead, cell, limits } = state;
  if (!grid) return;
  at("title").textContent = `${grid.label(name)} for ${stamp(grid.times[lead])}`;
  at("times").textContent = `${leadText(grid, lead)} after the reference time ${stamp(grid.reference)}. ` +
    `Model ${grid.model}, version ${grid.version}.`;
  at("lead").value = lead;
  at("lead-text").textContent = leadText(grid, lead);
  at("lead").setAttribute("aria-valuetext", `${leadText(grid, lead)}, ${stamp(grid.times[lead])}`);
  state.place = drawMap(at("map"), grid, name, lead, limits, cell);
  at("map").setAttribute("aria-label", `Map of ${at("title").textContent}; ${cellText()}`);
  drawCell();
}

function format(value) {
  if (value === null) return "missing";
  return value.toFixed(places((state.limits[1] - state.limits[0]) / 100 || 0.01));
}

function cellText() {
  const { grid, name, lead, cell } = state;
  const [x, y] = [grid.x[cell.column], grid.y[cell.row]];
  const place = grid.geographic ? `${degrees(y, "y")}, ${degrees(x, "x")}` : `y ${y}, x ${x}`;
  const value = grid.value(name, lead, cell.row, cell.column);
  return `${place}: ${format(value)}${value === null ? "" : ` ${grid.units(name)}`}`;
}

function drawCell() {
  const { grid, name, lead, cell } = state;
  const values = grid.times.map((_, i) => grid.value(name, i, cell.row, cell.column));
  at("cell").textContent = cellText();
  drawSeries(at("series"), grid.times, values, lead, grid.units(name));
  at("series").setAttribute("aria-label", `Series of the cell at ${cellText()}; its values are in the table below`);
  at("values").replaceChildren(...values.map((value, i) => {
    const row = document.createElement("tr");
    for (const [text, kind] of [[leadText(grid, i), "number"], [stamp(grid.times[i]), ""], [format(value), "number"]]) {
      const cellOfTable = document.createElement("td");
      cellOfTable.textContent = text;
      cellOfTable.className = kind;
      row.append(cellOfTable);
    }
    return row;
  }));
}

function step(by) {
  const n = state.grid.times.length;
  state.lead = (state.lead + by + n) % n;
  drawLead();
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
};

at("map").addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || !state.grid || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
at("map").addEventListener("click", (event) => {
  const place = geometry(state.grid, at("map").clientWidth);
  const cell = { row: place.row(event.offsetY), column: place.column(event.offsetX) };
  if (cell.row < 0 || cell.column < 0) return;
  state.cell = cell;
  drawLead();
});
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
const guarded = (action) => () => action().catch((error) => say(error.message, true));
at("model").addEventListener("change", guarded(() => {
  state.grid = null;
  at("view").hidden = true;
  pause();
  return describe();
}));
at("key").addEventListener("change", guarded(loadModels));
at("latest").addEventListener("click", latest);
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
guarded(loadModels)();
