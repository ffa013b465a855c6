// The time series of one cell: forecast, uncertainty bands, and observed values.
import { prepare, styled, wholeText } from "./canvas.js";
import { places, ticks } from "./colors.js";

const HEIGHT = 270;
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 18, 24, 42];

/** Draw lists of numbers, null for missing values; bands are {level, lower, upper}, the widest first;
 * lines give the two lines below a time, and the note stands in the upper right corner. */
export function drawSeries(canvas, { times, forecast, truth, bands, lead, units, lines, note = "" }) {
  const { context, width } = prepare(canvas, HEIGHT);
  const present = [forecast, truth ?? [], ...bands.flatMap(({ lower, upper }) => [lower, upper])]
    .flat().filter((value) => value !== null);
  context.fillStyle = styled("ink");
  context.textBaseline = "top";
  if (!present.length) {
    context.fillText("There are no values at this place.", LEFT, TOP);
    return;
  }
  const middle = (Math.min(...present) + Math.max(...present)) / 2;
  const half = Math.max((Math.max(...present) - Math.min(...present)) * 0.6, Math.abs(middle) * 1e-4, 1e-9);
  const [low, high] = [middle - half, middle + half];
  const wide = width - LEFT - RIGHT;
  const tall = HEIGHT - TOP - BOTTOM;
  const px = (i) => LEFT + (times.length > 1 ? (i / (times.length - 1)) * wide : wide / 2);
  const py = (value) => TOP + ((high - value) / (high - low)) * tall;
  context.fillText(units, LEFT, 2);
  context.textAlign = "right";
  context.fillText(note, width - RIGHT, 2);
  grid(context, ticks(low, high, 5), py, wide);
  context.fillStyle = styled("line");
  context.fillRect(px(lead) - 1, TOP, 2, tall);
  timeLabels(context, times.map(lines), px, TOP + tall + 6, { most: Math.max(2, Math.floor(wide / 80)), width });
  for (const { level, lower, upper } of bands) band(context, lower, upper, px, py, styled(`band${level}`));
  if (truth) line(context, truth, px, py, { color: styled("truth"), dash: [6, 4], lead });
  line(context, forecast, px, py, { color: styled("accent"), dash: [], lead });
}

function grid(context, marks, py, wide) {
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of marks) {
    context.fillStyle = styled("line");
    context.fillRect(LEFT, py(value), wide, 1);
    context.fillStyle = styled("ink");
    context.fillText(value.toFixed(places(marks[1] - marks[0])), LEFT - 10, py(value));
  }
}

function band(context, lower, upper, px, py, color) {
  const known = lower.map((value, i) => i).filter((i) => lower[i] !== null && upper[i] !== null);
  context.fillStyle = color;
  context.beginPath();
  for (const i of known) context.lineTo(px(i), py(upper[i]));
  for (const i of known.reverse()) context.lineTo(px(i), py(lower[i]));
  context.fill();
}

function line(context, values, px, py, { color, dash, lead }) {
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = 2.5;
  context.setLineDash(dash);
  context.beginPath();
  values.forEach((value, i) => {
    if (value === null) return;
    if (i && values[i - 1] !== null) context.lineTo(px(i), py(value));
    else context.moveTo(px(i), py(value));
  });
  context.stroke();
  context.setLineDash([]);
  values.forEach((value, i) => {
    if (value === null) return;
    context.beginPath();
    context.arc(px(i), py(value), i === lead ? 6 : 3.5, 0, 2 * Math.PI);
    context.fill();
  });
}

function timeLabels(context, labels, px, y, { most, width }) {
  const every = Math.ceil(labels.length / most);
  context.fillStyle = styled("ink");
  context.textBaseline = "top";
  let last = "";
  labels.forEach(([upper, lower], i) => {
    if (i % every) return;
    wholeText(context, upper, px(i), y, width);
    if (lower !== last) wholeText(context, lower, px(i), y + 16, width);
    last = lower;
  });
}
