// The color scale of the maps.
import { prepare, styled, wholeText } from "./canvas.js";
import { color, places, ticks } from "./colors.js";

const HEIGHT = 38;
const BAR = 12;
const SIDE = 8;

/** Draw the scale from lowest to highest value; `unit` converts values to the unit of the labels. */
export function drawLegend(canvas, limits, unit) {
  const { context, width } = prepare(canvas, HEIGHT);
  const wide = width - 2 * SIDE;
  for (let i = 0; i < wide; i += 1) {
    context.fillStyle = `rgb(${color(i / (wide - 1))})`;
    context.fillRect(SIDE + i, 0, 1.5, BAR);
  }
  const [low, high] = limits.map(unit.value);
  const marks = ticks(low, high, Math.max(2, wide / 90));
  context.textBaseline = "top";
  context.fillStyle = styled("ink");
  for (const value of marks) {
    const at = SIDE + ((value - low) / (high - low || 1)) * wide;
    context.fillRect(at - 0.5, BAR, 1, 4);
    wholeText(context, value.toFixed(places(marks[1] - marks[0])), at, BAR + 6, width);
  }
}
