// Lines written as text by the encoded polyline algorithm; tools/map/make_world.py writes them.

/** Longitude and latitude of each point in turn, in degrees. */
export function decodeLine(text, steps) {
  const found = [];
  const last = [0, 0];
  let [which, value, shift] = [0, 0, 0];
  for (let i = 0; i < text.length; i += 1) {
    const bits = text.charCodeAt(i) - 63;
    value |= (bits & 0x1f) << shift;
    shift += 5;
    if (bits & 0x20) continue;
    last[which] += value & 1 ? ~(value >> 1) : value >> 1;
    if (which) found.push(last[1] / steps, last[0] / steps);
    [which, value, shift] = [1 - which, 0, 0];
  }
  return Float64Array.from(found);
}
