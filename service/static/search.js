// Search for a place by its name or its coordinates.
import { parseCoordinates } from "./coordinates.js";
import { at, say } from "./page.js";
import { loadPlaces, named, searchPlaces } from "./places.js";
import { chooseAt, placeText, state } from "./state.js";

/** Offer names that begin as the text does. */
export async function suggest() {
  if (!state.grid?.geographic) return;
  const found = searchPlaces(await loadPlaces(), at("wanted").value);
  at("places").replaceChildren(...found.map((place) => new Option("", named(place))));
}

/** Choose the place that is asked for; returns its coordinates, null with a message if there is none. */
export async function find() {
  const text = at("wanted").value.trim();
  if (!text) return null;
  const { geographic } = state.grid;
  let [target, name] = [parseCoordinates(text, geographic), ""];
  if (!target && geographic) {
    const [place] = searchPlaces(await loadPlaces(), text, 1);
    if (place) [target, name] = [{ x: place.longitude, y: place.latitude }, named(place)];
  }
  if (!target) {
    say(geographic ? `No place “${text}” is known here: only countries and larger towns are. Try a larger town nearby, or ` +
      "coordinates such as 48.1, 11.6 (latitude, longitude)." : `“${text}” is no pair of coordinates. Write x and y, such as 120, 45.`, true);
    return null;
  }
  if (!chooseAt(target)) {
    say(`${name || placeText(target)} lies outside of the area of this forecast.`, true);
    return null;
  }
  say(name ? `Shown: ${name}.` : "");
  return target;
}
