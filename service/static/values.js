// The numbers of the chosen place: each time of one variable, and each variable at one time.
import { localText } from "./localtime.js";
import { at, tableRow } from "./page.js";
import { decimals, localClock, state, title, truthHere, unitOf, valueHere, written } from "./state.js";
import { ahead } from "./words.js";

/** The series of the chosen cell in the shown unit: {forecast, truth, bands}; truth is null if nothing is known. */
export function seriesHere() {
  const { grid, name } = state;
  const unit = unitOf(name);
  const along = (source, which) => source.times.map((_, i) => unit.value(valueHere(source, which, i)));
  const observed = truthHere() && along(truthHere(), name);
  return {
    forecast: along(grid, name),
    truth: observed?.some((value) => value !== null) ? observed : null,
    bands: grid.bands(name).map((level) => (
      { level, lower: along(grid, `${name}_lower_${level}`), upper: along(grid, `${name}_upper_${level}`) })),
  };
}

function small(text) {
  const made = document.createElement("small");
  made.textContent = text;
  return made;
}

/** Fill the table of one variable. */
export function fillValues({ forecast, truth, bands }) {
  const { grid, times } = state;
  const { label } = unitOf(state.name);
  const clock = localClock();
  const inUnit = label && `, ${label}`;
  const heads = ["Ahead", "Time", `Forecast${inUnit}`,
    ...(truth ? [`Observed${inUnit}`] : []), ...bands.map(({ level }) => `${level} % of the time${inUnit}`)];
  at("values").replaceChildren(tableRow(heads, "th"), ...forecast.map((value, i) => tableRow([
    ahead(grid.reference, grid.times[i]),
    clock ? [times.said(grid.times[i]), small(localText(grid.times[i], clock))] : times.said(grid.times[i]),
    decimals(value),
    ...(truth ? [decimals(truth[i])] : []),
    ...bands.map(({ lower, upper }) => `${decimals(lower[i])} to ${decimals(upper[i])}`),
  ], "td")));
}

/** Fill the list of all variables at the shown time; `choose` is called with the name of the one to show. */
export function fillVariables(choose) {
  const { grid, truth, lead } = state;
  at("variables-pane").hidden = grid.names.length < 2;
  const observed = truth?.names.some((name) => truth.hasValues(name, lead));
  const rows = grid.names.map((name) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: title(name), onclick: () => choose(name) });
    button.setAttribute("aria-pressed", name === state.name);
    const known = truth?.names.includes(name) ? valueHere(truth, name, lead) : null;
    return tableRow([[button], written(valueHere(grid, name, lead), name),
      ...(observed ? [written(known, name)] : [])], "td", 1);
  });
  at("variables").replaceChildren(tableRow(["Variable", "Forecast", ...(observed ? ["Observed"] : [])], "th"), ...rows);
}
