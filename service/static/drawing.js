// The map and its color scale.
import { prepare, styled } from "./canvas.js";
import { color, places, ticks } from "./colors.js";
import { unwrapped } from "./coverage.js";

/** Edges of cells halfway between their centers, ascending. */
function edges(centers) {
  if (centers.length < 2) return [centers[0] - 0.5, centers[0] + 0.5];
  const inner = centers.slice(1).map((value, i) => (value + centers[i]) / 2);
  return [centers[0] - (inner[0] - centers[0]), ...inner, centers.at(-1) + (centers.at(-1) - inner.at(-1))];
}

/** Placement of a grid on a canvas of the given width: north up, west left. */
export function geometry(grid, width) {
  const sorted = (values) => values.map((value, i) => [value, i]).sort((a, b) => a[0] - b[0]);
  const columns = sorted(unwrapped(grid.x, grid.geographic));
  const rows = sorted(grid.y);
  const x = edges(columns.map(([value]) => value));
  const y = edges(rows.map(([value]) => value));
  if (grid.geographic) {
    y[0] = Math.max(y[0], -90);
    y[y.length - 1] = Math.min(y.at(-1), 90);
  }
  const left = 46;
  const bottom = 24;
  const plot = Math.max(width - left - 8, 40);
  const middle = (y[0] + y.at(-1)) / 2;
  const stretch = grid.geographic ? 1 / Math.max(Math.cos((middle * Math.PI) / 180), 0.2) : 1;
  const wanted = plot * stretch * (y.at(-1) - y[0]) / (x.at(-1) - x[0]);
  const tall = Math.min(Math.max(wanted, 120), 0.55 * window.innerHeight);
  const wide = grid.geographic || wanted > tall ? Math.min(plot, (plot * tall) / wanted) : plot;
  const px = (value) => left + ((value - x[0]) / (x.at(-1) - x[0])) * wide;
  const py = (value) => 8 + ((y.at(-1) - value) / (y.at(-1) - y[0])) * tall;
  const find = (bounds, value) => bounds.findIndex((edge, i) => i && value <= edge) - 1;
  return {
    x, y, px, py, left, top: 8, wide, tall, height: 8 + tall + bottom,
    column: (pixel) => {
      const found = find(x, x[0] + ((pixel - left) / wide) * (x.at(-1) - x[0]));
      return pixel < left || found < 0 ? -1 : columns[found][1];
    },
    row: (pixel) => {
      const found = find(y, y.at(-1) - ((pixel - 8) / tall) * (y.at(-1) - y[0]));
      return pixel < 8 || found < 0 ? -1 : rows[found][1];
    },
    rank: { column: (i) => columns.findIndex((c) => c[1] === i), row: (i) => rows.findIndex((r) => r[1] === i) },
    index: { column: (rank) => columns[rank][1], row: (rank) => rows[rank][1] },
  };
}

export function degrees(value, kind) {
  const turned = kind === "x" ? ((((value + 180) % 360) + 360) % 360) - 180 : value;
  const letter = turned === 0 ? "" : kind === "x" ? (turned < 0 ? " W" : " E") : turned < 0 ? " S" : " N";
  return `${Number(Math.abs(turned).toFixed(3))}°${letter}`;
}

/** Draw one lead of a grid; null is drawn as missing. */
export function drawMap(canvas, grid, name, lead, limits, cell) {
  const place = geometry(grid, canvas.clientWidth || canvas.parentElement.clientWidth);
  const { context, scale } = prepare(canvas, place.height);
  const ink = styled("ink");
  context.fillStyle = styled("missing");
  context.fillRect(place.left, place.top, place.wide, place.tall);
  paintCells(context, place, grid, name, lead, limits, scale);
  context.strokeStyle = styled("line");
  context.strokeRect(place.left, place.top, place.wide, place.tall);
  context.fillStyle = ink;
  context.textAlign = "center";
  context.textBaseline = "top";
  const label = (value, kind, step) => (grid.geographic ? degrees(value, kind) : value.toFixed(places(step)));
  const acrossTicks = ticks(place.x[0], place.x.at(-1), Math.max(2, place.wide / 90), grid.geographic);
  for (const value of acrossTicks) {
    const at = Math.min(Math.max(place.px(value), place.left + 16), place.left + place.wide - 16);
    context.fillText(label(value, "x", acrossTicks[1] - acrossTicks[0]), at, place.top + place.tall + 5);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  const upTicks = ticks(place.y[0], place.y.at(-1), Math.max(2, place.tall / 60), grid.geographic);
  for (const value of upTicks) {
    context.fillText(label(value, "y", upTicks[1] - upTicks[0]), place.left - 5, Math.max(place.py(value), 14));
  }
  if (grid.geographic) drawGraticule(context, place, acrossTicks, upTicks);
  if (cell) markCell(context, place, cell);
  return place;
}

function paintCells(context, place, grid, name, lead, limits, scale) {
  const width = Math.round(place.wide * scale);
  const height = Math.round(place.tall * scale);
  const image = context.createImageData(width, height);
  const columns = Array.from({ length: width }, (_, i) => place.column(place.left + (i + 0.5) / scale));
  const shades = new Map();
  const span = limits[1] - limits[0] || 1;
  for (let j = 0; j < height; j += 1) {
    const row = place.row(place.top + (j + 0.5) / scale);
    for (let i = 0; i < width; i += 1) {
      const value = row < 0 || columns[i] < 0 ? null : grid.value(name, lead, row, columns[i]);
      if (value === null) continue;
      const level = Math.round(((value - limits[0]) / span) * 255);
      if (!shades.has(level)) shades.set(level, color(level / 255));
      const [red, green, blue] = shades.get(level);
      image.data.set([red, green, blue, 255], 4 * (j * width + i));
    }
  }
  const layer = document.createElement("canvas");
  layer.width = width;
  layer.height = height;
  layer.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(layer, place.left, place.top, place.wide, place.tall);
}

/** Meridians and parallels at the labeled degrees. */
function drawGraticule(context, place, meridians, parallels) {
  context.save();
  context.beginPath();
  for (const value of meridians) {
    context.moveTo(place.px(value), place.top);
    context.lineTo(place.px(value), place.top + place.tall);
  }
  for (const value of parallels) {
    context.moveTo(place.left, place.py(value));
    context.lineTo(place.left + place.wide, place.py(value));
  }
  context.strokeStyle = "rgba(255, 255, 255, .35)";
  context.stroke();
  context.restore();
}

function markCell(context, place, cell) {
  const column = place.rank.column(cell.column);
  const row = place.rank.row(cell.row);
  const box = [
    place.px(place.x[column]), place.py(place.y[row + 1]),
    place.px(place.x[column + 1]) - place.px(place.x[column]), place.py(place.y[row]) - place.py(place.y[row + 1]),
  ];
  for (const [line, shade] of [[5, "#000"], [2.5, "#fff"]]) {
    context.lineWidth = line;
    context.strokeStyle = shade;
    context.strokeRect(...box);
  }
  context.lineWidth = 1;
}

/** The color scale from lowest to highest value; `shift` is added to the labels. */
export function drawLegend(canvas, limits, shift) {
  const { context, width } = prepare(canvas, 36);
  const left = 46;
  const wide = Math.min(width - left - 20, 560);
  for (let i = 0; i < wide; i += 1) {
    context.fillStyle = `rgb(${color(i / (wide - 1))})`;
    context.fillRect(left + i, 0, 1.5, 12);
  }
  context.fillStyle = styled("ink");
  context.textBaseline = "top";
  context.textAlign = "center";
  const marks = ticks(limits[0] + shift, limits[1] + shift, Math.max(3, wide / 90));
  for (const value of marks) {
    const at = left + ((value - shift - limits[0]) / (limits[1] - limits[0] || 1)) * wide;
    context.fillRect(at, 12, 1, 4);
    context.fillText(value.toFixed(places(marks[1] - marks[0])), at, 18);
  }
}
