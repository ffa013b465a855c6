// The box with the scores of past forecasts, from /v1/verification.
import { at, tableRow } from "./page.js";
import { number } from "./words.js";

const MOST_ROWS = 12;

function cellOf(text, kind = "") {
  const made = document.createElement("td");
  made.textContent = text;
  made.className = kind;
  return made;
}

/** A bar with a length in proportion to the largest error. */
function bar(value, largest, kind) {
  const made = document.createElement("td");
  const inside = document.createElement("div");
  inside.className = `bar ${kind}`;
  inside.style.width = `${Math.max(0, (100 * value) / largest)}%`;
  made.append(inside);
  made.className = "bars";
  return made;
}

function heading() {
  const row = tableRow(["Ahead", "Usual error", "", "If nothing changed", "Gain"], "th");
  const bars = document.createElement("td"); // the bars say what the number beside them says
  bars.className = "bars";
  row.cells[2].replaceWith(bars);
  return row;
}

const dayOf = (text) => text.slice(0, 10);

/** Show the verification of one variable, its errors in the unit of the page; hide the box if there is none. */
export function showQuality(found, name, unit) {
  const scores = found?.variables?.[name];
  at("quality").hidden = !scores;
  if (!scores) return;
  const { label: units } = unit;
  const [model, persistence] = [scores.rmse.model, scores.rmse.persistence].map((errors) => errors.map(unit.difference));
  const largest = Math.max(...model, ...persistence);
  at("quality-text").textContent = `${found.cases} forecasts, made between ${dayOf(found.first_reference_time)} ` +
    `and ${dayOf(found.last_reference_time)}, have been compared with later observations.`;
  const every = Math.ceil(found.leads.length / MOST_ROWS);
  const below = new Set(found.below.filter((entry) => entry.variable === name).map((entry) => entry.lead));
  at("quality-table").replaceChildren(heading(), ...found.leads.flatMap((lead, i) => {
    const skill = scores.skill.persistence[i];
    if (i % every || model[i] === null || skill === null) return [];
    const row = document.createElement("tr");
    const gain = Math.round(100 * skill);
    row.append(
      cellOf(found.lead_labels[i]),
      cellOf(`${number(model[i], largest)} ${units}`, "number"),
      bar(model[i], largest, "model"),
      cellOf(`${number(persistence[i], largest)} ${units}`, "number"),
      cellOf(`${gain < 0 ? "−" : "+"}${Math.abs(gain)} %`, below.has(lead) ? "number bad" : "number good"),
    );
    return [row];
  }));
  at("quality-note").textContent = "Gain: reduction of the error compared with the assumption that nothing changes. " +
    "A forecast with a gain below zero is of no use.";
  const labels = [...below].map((lead) => found.lead_labels[lead - 1]);
  at("quality-warning").hidden = !labels.length;
  at("quality-warning").textContent = `Warning: the forecasts for ${labels.join(", ")} ahead are currently ` +
    "worse than they should be.";
}
