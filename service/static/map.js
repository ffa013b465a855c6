// The map page: connects what a reader does with what the page shows.
import { describe, loadModels, lookAgain, reference, showStored, stepReference, upload } from "./choice.js";
import { download } from "./download.js";
import { applyLink, applySettings, keepLink, readLink, writeLink } from "./link.js";
import { BUTTONS, choose, KEYS, reveal } from "./moving.js";
import { at, guarded } from "./page.js";
import { connect } from "./panes.js";
import { loadPlaces } from "./places.js";
import { pause, step, toggle } from "./player.js";
import { drawAll, drawLead, drawMaps, drawSoon, whenDrawn } from "./screen.js";
import { find, suggest } from "./search.js";
import { cellAt, center, placeText, state, valueAt, written } from "./state.js";

const LOOK_AGAIN_MILLISECONDS = 15000;

const keys = {
  ...KEYS, ",": () => step(-1), ".": () => step(1), " ": toggle,
  "[": guarded(() => stepReference(1)), "]": guarded(() => stepReference(-1)),
};
at("map").addEventListener("keydown", (event) => {
  const action = keys[`${event.shiftKey && event.key.startsWith("Arrow") ? "Shift+" : ""}${event.key}`];
  if (!action || !state.grid || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
  at("spoken").textContent = `${at("title").textContent}. ${at("cell").textContent}`;
});
for (const [name, action] of Object.entries(BUTTONS)) at(name).addEventListener("click", action);

/** The value below the mouse, in the corner of its map. */
function point(where, canvas) {
  const corner = canvas.parentElement.querySelector(".below-mouse");
  const { grid, truth, name, lead } = state;
  const cell = where && cellAt(where);
  corner.hidden = !cell;
  if (corner.hidden) return;
  const source = canvas === at("map") ? grid : truth;
  corner.textContent = `${placeText(center(cell))}: ${written(valueAt(source, name, lead, cell))}`;
}
connect({ moved: drawMaps, chosen: choose, pointed: point });

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
at("units").addEventListener("change", () => {
  const others = state.units.filter((label) => ![...at("units").options].some(({ value }) => value === label));
  state.units = [...others, at("units").value];
  drawAll();
});
at("draw").addEventListener("change", () => {
  state.smooth = at("draw").value === "smooth";
  drawSoon();
});
at("clock").addEventListener("change", () => {
  state.clock = at("clock").value;
  drawLead();
});

at("search").addEventListener("submit", guarded(async (event) => {
  event.preventDefault();
  if (await find()) reveal(true);
}));
at("wanted").addEventListener("input", guarded(suggest));
for (const button of document.querySelectorAll("[data-file]")) {
  button.addEventListener("click", guarded(() => download(button.dataset.file)));
}
at("copy").addEventListener("click", async () => {
  writeLink(reference());
  at("link").hidden = false;
  at("link").value = location.href;
  at("link").select();
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  at("copied").textContent = `${copied ? "Copied." : "Copy the marked text."}${reference() ? ""
    : " The link does not hold the forecast of your own file."}`;
});

at("reference").addEventListener("change", guarded(() => reference() && showStored(reference())));
at("older").addEventListener("click", guarded(() => stepReference(1)));
at("newer").addEventListener("click", guarded(() => stepReference(-1)));
at("model").addEventListener("change", guarded(() => {
  state.grid = null;
  at("view").hidden = true;
  at("reference").replaceChildren();
  pause();
  return describe();
}));
at("key").addEventListener("change", guarded(() => loadModels(readLink())));
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

whenDrawn(() => keepLink(reference));
window.addEventListener("hashchange", guarded(() => {
  const link = readLink();
  applySettings(link);
  if (!state.grid || link.model !== at("model").value || (link.forecast ?? "") !== reference()) return loadModels(link);
  applyLink(link);
  return drawAll();
}));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
window.addEventListener("resize", drawAll);
setInterval(() => {
  if (state.source && !document.hidden) lookAgain().catch(() => {});
}, LOOK_AGAIN_MILLISECONDS);

applySettings(readLink());
guarded(() => loadModels(readLink()))();
loadPlaces().then((places) => {
  state.places = places;
  drawLead();
}, () => {}); // the map is of use without names
