// Coordinates as people write them.

/** A longitude in [-180, 180). */
export const turned = (longitude) => ((((longitude + 180) % 360) + 360) % 360) - 180;

/** "48.5° N" or "11° W"; a longitude beyond the date line is turned back. */
export function degrees(value, kind) {
  const found = kind === "x" ? turned(value) : value;
  const [below, above] = kind === "x" ? [" W", " E"] : [" S", " N"];
  const letter = found === 0 || (kind === "x" && found === -180) ? "" : found < 0 ? below : above;
  return `${Number(Math.abs(found).toFixed(3))}°${letter}`;
}

const NUMBER = String.raw`[-+−]?\d+(?:[.,]\d+)?`;
const PART = new RegExp(String.raw`^([NSEWO])?\s*(${NUMBER})\s*°?\s*(?:(\d+(?:\.\d+)?)\s*['′’]\s*)?(?:(\d+(?:\.\d+)?)\s*["″”]\s*)?([NSEWO])?$`, "i");

function part(text) {
  const found = PART.exec(text.trim());
  if (!found) return null;
  const [, before, whole, minutes = 0, seconds = 0, after] = found;
  const size = Number(whole.replace("−", "-").replace(",", "."));
  const letter = (before ?? after ?? "").toUpperCase().replace("O", "E");
  const value = (Math.abs(size) + minutes / 60 + seconds / 3600) * (size < 0 ? -1 : 1);
  return { value: letter === "S" || letter === "W" ? -value : value, letter };
}

/** Two numbers of a text: {x, y}, null if it holds no coordinates.
 *
 * Without letters latitude comes first ("52.5, 13.4", "52°30'N 13°24'E", "13.4 E 52.5 N"); on a plane, x does. */
export function parseCoordinates(text, geographic) {
  const written = text.trim();
  const pieces = written.includes(";") ? written.split(";")
    : /^\S+\s+\S+$/.test(written) ? written.split(/,?\s+/) : written.split(/,\s+|,(?=[-+−]?\d)/);
  const halves = pieces.length === 2 ? pieces
    : (/^(.*?\d[°'′’"″”]*\s*[NSEWO]?)[\s,]+((?:[NSEWO]\s*)?[-+−]?\d.*)$/i.exec(written) ?? []).slice(1);
  const [first, second] = halves.map(part);
  if (!first || !second) return null;
  if (!geographic) return { x: first.value, y: second.value };
  const turned = /[EW]/.test(first.letter) || /[NS]/.test(second.letter);
  const [y, x] = turned ? [second.value, first.value] : [first.value, second.value];
  return Math.abs(y) <= 90 && Math.abs(x) <= 360 ? { x, y } : null;
}
