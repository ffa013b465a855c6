// A field as pixels, cell by cell or smoothly between the centers of cells.
import { palette } from "./colors.js";

/** Paint values, in the order of ranks with NaN where missing, into the part of the canvas that the grid covers. */
export function paintField(context, view, values, limits, smooth, scale) {
  const [width, height] = [Math.round(view.width * scale), Math.round(view.height * scale)];
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const [west, east] = view.stretch;
  const across = Array.from({ length: width }, (_, i) => view.x((i + 0.5) / scale))
    .map((x) => (x < west || x > east ? null : placed(view.columns, x)));
  const factor = 255 / (limits[1] - limits[0] || 1);
  const size = view.columns.size;
  for (let j = 0; j < height; j += 1) {
    const row = placed(view.rows, view.y((j + 0.5) / scale));
    if (!row) continue;
    for (let i = 0; i < width; i += 1) {
      const column = across[i];
      if (!column) continue;
      let value = values[row.rank * size + column.rank];
      if (smooth) {
        const below = mixed(values[row.low * size + column.low], values[row.low * size + column.high], column.share);
        const above = mixed(values[row.high * size + column.low], values[row.high * size + column.high], column.share);
        const between = mixed(below, above, row.share);
        if (!Number.isNaN(between) && !Number.isNaN(value)) value = between;
      }
      if (Number.isNaN(value)) continue;
      const level = (value - limits[0]) * factor;
      pixels[j * width + i] = palette[level < 0 ? 0 : level > 255 ? 255 : Math.round(level)];
    }
  }
  const layer = document.createElement("canvas");
  [layer.width, layer.height] = [width, height];
  layer.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(layer, 0, 0, view.width, view.height);
}

const mixed = (a, b, share) => a + (b - a) * share;

function placed(axis, value) {
  const rank = axis.rank(value);
  if (rank < 0) return null;
  const [low, high, share] = axis.neighbors(value);
  return { rank, low, high, share };
}
