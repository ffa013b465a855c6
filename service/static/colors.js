// A perceptually even color scale: anchors of viridis (matplotlib, CC0), interpolated.
const ANCHORS = [
  [68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140],
  [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37],
];

/** Color at a fraction of the scale, 0 to 1: [red, green, blue], each 0 to 255. */
export function color(share) {
  const place = Math.min(Math.max(share, 0), 1) * (ANCHORS.length - 1);
  const below = Math.min(Math.floor(place), ANCHORS.length - 2);
  return ANCHORS[below].map((value, i) => Math.round(value + (place - below) * (ANCHORS[below + 1][i] - value)));
}

/** 256 colors of the scale as pixels: red, green, blue and full opacity in the order of bytes of image data. */
export const palette = new Uint32Array(
  new Uint8Array(Array.from({ length: 256 }, (_, i) => [...color(i / 255), 255]).flat()).buffer);

/** Round values inside [low, high], approximately as many as requested. */
export function ticks(low, high, wanted = 5, degrees = false) {
  if (!(high > low)) return [low];
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const far = (step) => Math.abs(Math.log(step / raw));
  const round = [1, 2, 5, 10].map((factor) => factor * power).reduce((a, b) => (far(b) < far(a) ? b : a));
  const step = degrees && raw > 2 ? [5, 10, 15, 30, 45, 60, 90].find((size) => size >= raw) ?? 90 : round;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

/** Number of decimals that distinguishes two values with this difference. */
export function places(step) {
  return Math.min(6, Math.max(0, Math.ceil(-Math.log10(Math.abs(step) || 1) - 1e-9)));
}
