// A CoverageJSON Grid as the page draws it.
import { moment } from "./moments.js";
import { asCoverage } from "./plain.js";

const BAND = /_(lower|upper)_(\d+)$/;
const LEVELS = [95, 80];

/** Read an answer: axes, and a function value(name, lead, row, column); rows and columns in the order of the answer. */
export function readGrid(answer, calendar = "standard") {
  const coverage = answer.domain ? answer : asCoverage(answer);
  const axes = coverage.domain.axes;
  const x = axes.x.values;
  const y = axes.y.values;
  const times = axes.t.values.map((text) => moment(text, calendar));
  const system = coverage.domain.referencing?.find((entry) => entry.coordinates.includes("x"))?.system;
  const all = Object.keys(coverage.ranges);
  const names = all.filter((name) => !all.includes(name.replace(BAND, "")) || !BAND.test(name));
  const at = (lead, row, column) => (lead * y.length + row) * x.length + column;
  return {
    x, y, times, names,
    geographic: system?.type === "GeographicCRS",
    reference: moment(coverage["stconv:reference_time"], calendar),
    model: coverage["stconv:model_name"] ?? "",
    version: coverage["stconv:model_version"] ?? "",
    remarks: ["stconv:older_window", "stconv:input_outside_training_range"]
      .map((key) => coverage[key]).filter(Boolean),
    label: (name) => coverage.parameters[name].observedProperty.label.en,
    units: (name) => coverage.parameters[name].unit?.symbol?.value ?? "",
    value: (name, lead, row, column) => coverage.ranges[name].values[at(lead, row, column)],
    bands: (name) => LEVELS.filter((level) => all.includes(`${name}_lower_${level}`)),
    hasValues: (name, lead) => {
      const size = y.length * x.length;
      return coverage.ranges[name].values.slice(lead * size, (lead + 1) * size).some((value) => value !== null);
    },
    limits: (name) => {
      let low = Infinity;
      let high = -Infinity;
      for (const value of coverage.ranges[name].values) {
        if (value === null) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      return low <= high ? [low, high] : null;
    },
  };
}

/** Eastward longitudes without a jump, so that a grid across Greenwich or the date line stays in one piece. */
export function unwrapped(x, geographic) {
  if (!geographic || x.length < 2) return x;
  const found = [x[0]];
  for (let i = 1; i < x.length; i += 1) {
    let value = x[i];
    while (value - found[i - 1] > 180) value -= 360;
    while (value - found[i - 1] < -180) value += 360;
    found.push(value);
  }
  return found;
}
