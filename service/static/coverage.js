// A CoverageJSON Grid as the page draws it.
import { Axis } from "./axes.js";
import { moment } from "./moments.js";
import { asCoverage } from "./plain.js";

const BAND = /_(lower|upper)_(\d+)$/;
const LEVELS = [95, 80];

/** Read an answer: axes, a function value(name, lead, row, column) in the order of the answer, and whole fields in the
 * order of ranks, with NaN where a value is missing. */
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
  const geographic = system?.type === "GeographicCRS";
  const columns = new Axis(x, { turns: geographic });
  const rows = new Axis(y, geographic ? { bounds: [-90, 90] } : {});
  let latest = { key: "", values: null }; // the field that a moving map draws again and again
  return {
    x, y, times, names, geographic, columns, rows,
    reference: moment(coverage["stconv:reference_time"], calendar),
    model: coverage["stconv:model_name"] ?? "",
    version: coverage["stconv:model_version"] ?? "",
    remarks: ["stconv:older_window", "stconv:input_outside_training_range"]
      .map((key) => coverage[key]).filter(Boolean),
    label: (name) => coverage.parameters[name].observedProperty.label.en,
    units: (name) => coverage.parameters[name].unit?.symbol?.value ?? "",
    value: (name, lead, row, column) => coverage.ranges[name].values[at(lead, row, column)],
    field: (name, lead) => {
      const key = `${lead} ${name}`;
      if (latest.key === key) return latest.values;
      const found = new Float64Array(y.length * x.length);
      rows.indices.forEach((row, j) => columns.indices.forEach((column, i) => {
        found[j * x.length + i] = coverage.ranges[name].values[at(lead, row, column)] ?? NaN;
      }));
      latest = { key, values: found };
      return found;
    },
    bands: (name) => LEVELS.filter((level) => all.includes(`${name}_lower_${level}`)),
    hasValues: (name, lead) => {
      const size = y.length * x.length;
      return coverage.ranges[name].values.slice(lead * size, (lead + 1) * size).some((value) => value !== null);
    },
    hasGaps: (name) => coverage.ranges[name].values.includes(null),
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
