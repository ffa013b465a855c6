// One map: the field, coastlines, names, degrees at the edge, and the chosen cell.
import { drawBasemap } from "./basemap.js";
import { plate, prepare, styled } from "./canvas.js";
import { places, ticks } from "./colors.js";
import { degrees } from "./coordinates.js";
import { paintField } from "./field.js";
import { drawNames } from "./names.js";

const SMALLEST_MARK = 9;

/** Draw values in the order of ranks; `ready` is called when lines arrive that make a better map. */
export function drawMap(canvas, view, { values, limits, smooth, cell, names, ready }) {
  const { context, width, height, scale } = prepare(canvas);
  context.fillStyle = styled("beyond");
  context.fillRect(0, 0, width, height);
  const [left, right] = view.stretch.map((x) => view.px(x));
  context.save();
  context.beginPath();
  context.rect(left, 0, right - left, height);
  context.clip();
  fillGrid(context, view);
  paintField(context, view, values, limits, smooth, scale);
  const edge = graduation(context, view);
  if (view.geographic) drawBasemap(context, view, ready);
  context.restore();
  for (const label of edge) label.draw();
  const marks = cellBoxes(view, cell);
  if (view.geographic && names) drawNames(context, view, names, [...edge, ...marks]);
  for (const box of marks) markCell(context, box);
}

/** The ground of the grid, which stays where values are missing. */
function fillGrid(context, view) {
  const { columns, rows } = view;
  context.fillStyle = styled("missing");
  const [top, tall] = [view.py(rows.high), view.py(rows.low) - view.py(rows.high)];
  for (const turn of view.turns(columns.low, columns.high)) {
    const left = view.px(columns.low + turn);
    const wide = view.px(columns.high + turn) - left;
    context.fillRect(left, top, wide, tall);
    if (columns.closed) continue;
    context.strokeStyle = styled("quiet");
    context.strokeRect(left - 0.5, top - 0.5, wide + 1, tall + 1);
  }
}

/** Meridians and parallels, or lines of x and y; returns their labels, which lie along the lower and left edges. */
function graduation(context, view) {
  const { width, height, geographic } = view;
  const sides = [
    ["x", ...view.stretch, Math.max(2, width / 110)],
    ["y", Math.max(view.y(height), view.verticalBounds[0]), Math.min(view.y(0), view.verticalBounds[1]), Math.max(2, height / 80)],
  ];
  context.strokeStyle = "rgb(255 255 255 / .3)";
  context.lineWidth = 1;
  return sides.flatMap(([kind, low, high, wanted]) => {
    const marks = ticks(low, high, wanted, geographic);
    const text = (value) => (geographic ? degrees(value, kind) : value.toFixed(places(marks[1] - marks[0])));
    return marks.flatMap((value) => {
      const at = kind === "x" ? view.px(value) : view.py(value);
      context.beginPath();
      context.moveTo(...(kind === "x" ? [at, 0] : [0, at]));
      context.lineTo(...(kind === "x" ? [at, height] : [width, at]));
      context.stroke();
      const label = kind === "x" ? plate(context, text(value), at, height - 10, { align: "center", small: true })
        : plate(context, text(value), 5, at, { small: true });
      const whole = kind === "x" ? label.left > 60 && label.left + label.width < width - 2
        : label.top > 2 && label.top + label.height < height - 24;
      return whole ? [label] : [];
    });
  });
}

/** The chosen cell in pixels, as often as it is in view; a tiny one is enlarged so that it can be seen. */
function cellBoxes(view, { row, column }) {
  const { columns, rows } = view;
  const [west, east] = [columns.edges[column], columns.edges[column + 1]];
  const [top, bottom] = [view.py(rows.edges[row + 1]), view.py(rows.edges[row])];
  return view.turns(west, east).map((turn) => {
    const [left, right] = [view.px(west + turn), view.px(east + turn)];
    const more = [right - left, bottom - top].map((length) => Math.max(0, (SMALLEST_MARK - length) / 2));
    return { left: left - more[0], top: top - more[1], width: right - left + 2 * more[0], height: bottom - top + 2 * more[1] };
  });
}

function markCell(context, { left, top, width, height }) {
  for (const [line, shade] of [[5, "#000"], [2.5, "#fff"]]) {
    context.lineWidth = line;
    context.strokeStyle = shade;
    context.strokeRect(left, top, width, height);
  }
}
