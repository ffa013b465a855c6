// The local time of a moment, next to UTC.
import { kilometers, nearestTown } from "./places.js";

const own = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The clock of a point: {zone, where}. With no town near the point, or by choice, it is the clock of the reader. */
export function clockOf(places, point, choice) {
  const town = choice === "place" && places && point ? nearestTown(places, point) : null;
  return town?.zone ? { zone: town.zone, where: town.name } : { zone: own(), where: "" };
}

/** "Sat, 11 Jan, 01:00 in Paris (GMT+1)"; empty for a time of another calendar. */
export function localText(time, { zone, where }) {
  if (!(time instanceof Date)) return "";
  const parts = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit",
    minute: "2-digit", timeZone: zone, timeZoneName: "short" }).formatToParts(time);
  const of = (type) => parts.find((part) => part.type === type).value;
  const said = `${of("weekday")}, ${of("day")} ${of("month")}, ${of("hour")}:${of("minute")}`;
  return `${said} ${where ? `in ${where}` : "in your time zone"} (${of("timeZoneName")})`;
}

/** "near Paris", "120 km from Paris": a point told by its town. */
export function nearText(places, point) {
  const town = places && nearestTown(places, point);
  if (!town) return "";
  const far = kilometers(town, point);
  return far < 25 ? `near ${town.name}` : `${Math.round(far / 10) * 10} km from ${town.name}`;
}
