// Names of places: search, time zones, and candidates for labels; places.json is loaded once, when first asked for.
import { turned } from "./coordinates.js";

const NEAR_KILOMETERS = 250;
const KILOMETERS_PER_DEGREE = 111.2;
let request = null;

/** { places: [{name, country, latitude, longitude, zone, plain}], labels }, the most important first. */
export function loadPlaces() {
  request ??= fetch("/static/places.json").then((answer) => answer.json()).then((found) => ({
    labels: found.labels.map(([name, latitude, longitude, size]) => ({ name, latitude, longitude, size })),
    places: found.places.map(([name, latitude, longitude, code, zone]) => ({
      name, latitude, longitude, country: found.countries[code] ?? code, zone: found.zones[zone], plain: plain(name),
    })),
  }));
  return request;
}

/** Letters without accents, in lower case: "São Paulo" is "sao paulo". */
export const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase()
  .replace(/[^\p{L}\p{N}]+/gu, " ").trim();

/** Places whose name starts with a text, those with exactly this name first. */
export function searchPlaces({ places, labels }, text, most = 8) {
  const [wanted, country = ""] = text.split(",").map(plain);
  if (!wanted) return [];
  const inCountry = (place) => plain(place.country).startsWith(country);
  const found = places.filter((place) => place.plain.startsWith(wanted) && inCountry(place));
  const exact = found.filter((place) => place.plain === wanted);
  const lands = labels.filter(({ name }) => !country && plain(name).startsWith(wanted))
    .map((label) => ({ ...label, country: "", zone: null }));
  return [...new Set([...exact, ...lands.filter(({ name }) => plain(name) === wanted), ...found, ...lands])].slice(0, most);
}

/** The text of a place in a list. */
export const named = ({ name, country }) => (country ? `${name}, ${country}` : name);

/** Kilometers between two places of little distance. */
export function kilometers(a, b) {
  const across = turned(a.longitude - b.longitude);
  const shrunk = Math.cos((((a.latitude + b.latitude) / 2) * Math.PI) / 180);
  return Math.hypot(across * shrunk, a.latitude - b.latitude) * KILOMETERS_PER_DEGREE;
}

/** The town closest to a point, null far from any. */
export function nearestTown({ places }, point) {
  let [found, least] = [null, NEAR_KILOMETERS];
  for (const place of places) {
    if (Math.abs(place.latitude - point.latitude) * KILOMETERS_PER_DEGREE > least) continue;
    const far = kilometers(place, point);
    if (far < least) [found, least] = [place, far];
  }
  return found;
}
