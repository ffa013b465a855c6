// Coastlines and borders below the labels of a map: Natural Earth, see NOTICE.txt.
import { decodeLine } from "./polyline.js";

const FINE_BELOW_DEGREES = 100;
const SMALLEST_STEP_PIXELS = 0.7;
const loads = {};
const loaded = {};

/** Lines of world-coarse.json or world-fine.json, each with its bounds. */
async function load(size) {
  const answer = await fetch(`/static/world-${size}.json`);
  const { steps, coast, border } = await answer.json();
  const lines = (texts) => texts.map((text) => {
    const points = decodeLine(text, steps);
    const bounds = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < points.length; i += 2) {
      bounds[0] = Math.min(bounds[0], points[i]);
      bounds[1] = Math.max(bounds[1], points[i]);
      bounds[2] = Math.min(bounds[2], points[i + 1]);
      bounds[3] = Math.max(bounds[3], points[i + 1]);
    }
    return { points, bounds };
  });
  loaded[size] = { coast: lines(coast), border: lines(border) };
}

/** Whether the lines of a size can be drawn. */
export const isLoaded = (size) => size in loaded;

/** Draw the lines that are loaded; `ready` is called once finer ones are. */
export function drawBasemap(context, view, ready) {
  const size = view.x(view.width) - view.x(0) < FINE_BELOW_DEGREES ? "fine" : "coarse";
  loads[size] ??= load(size).then(ready, () => {}); // without lines the map is still of use
  const world = loaded[size] ?? loaded.coarse ?? loaded.fine;
  if (!world) return;
  context.save();
  context.lineJoin = "round";
  trace(context, view, world.border);
  stroke(context, [["rgb(255 255 255 / .55)", 2.2], ["rgb(20 20 20 / .75)", 0.8]]);
  trace(context, view, world.coast);
  stroke(context, [["rgb(255 255 255 / .65)", 3], ["rgb(10 10 10 / .9)", 1.2]]);
  context.restore();
}

function stroke(context, pens) {
  for (const [color, width] of pens) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }
}

function trace(context, view, lines) {
  context.beginPath();
  const [bottom, top] = [view.y(view.height), view.y(0)];
  for (const { points, bounds } of lines) {
    if (bounds[3] < bottom || bounds[2] > top) continue;
    for (const turn of view.turns(bounds[0], bounds[1])) follow(context, view, points, turn);
  }
}

function follow(context, view, points, turn) {
  let [lastX, lastY] = [view.px(points[0] + turn), view.py(points[1])];
  context.moveTo(lastX, lastY);
  for (let i = 2; i < points.length; i += 2) {
    const [x, y] = [view.px(points[i] + turn), view.py(points[i + 1])];
    if (Math.abs(x - lastX) + Math.abs(y - lastY) < SMALLEST_STEP_PIXELS && i < points.length - 2) continue;
    context.lineTo(x, y);
    [lastX, lastY] = [x, y];
  }
}
