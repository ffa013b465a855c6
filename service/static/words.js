// Times and numbers as text for people; all times are UTC.
import { places } from "./colors.js";
import { MONTHS } from "./moments.js";

const DAY = new Intl.DateTimeFormat("en-GB",
  { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

/** "Sun, 28 Dec 2014". */
export const day = (time) => (time instanceof Date ? DAY.format(time) : time.day);

/** "Sun, 28 Dec 2014, 12:00 UTC". */
export const stamp = (time) => `${day(time)}, ${time.toISOString().slice(11, 16)} UTC`;

const year = (time) => time.toISOString().split("-")[0];
const month = (time) => MONTHS[Number(time.toISOString().split("-")[1]) - 1];
const date = (time) => `${Number(time.toISOString().slice(8, 10))} ${month(time)}`;

/** Formats of the times of a series with this step, for a sentence and for two lines below an axis. */
export function clock({ kind, seconds }) {
  if (kind === "year") return { said: year, at: "in", lines: (time) => [year(time), ""] };
  if (kind === "month") {
    return { said: (time) => `${month(time)} ${year(time)}`, at: "in", lines: (time) => [month(time), year(time)] };
  }
  if (seconds % 86400 === 0) return { said: day, at: "on", lines: (time) => [date(time), year(time)] };
  return { said: stamp, at: "on", lines: (time) => [time.toISOString().slice(11, 16), date(time)], hours: true };
}

/** "6 hours", "3 days", "1 month": the lead of a time as text. */
export function ahead(from, to) {
  const minutes = Math.round((to - from) / 6e4);
  const days = minutes / 1440;
  const [count, unit] = days >= 28 ? [Math.round(days / 30.44), "month"]
    : days >= 3 && minutes % 1440 === 0 ? [days, "day"]
      : minutes >= 60 ? [minutes / 60, "hour"] : [minutes, "minute"];
  return `${Number(count.toFixed(2))} ${unit}${count === 1 ? "" : "s"}`;
}

/** A number with as many decimals as a scale of this width resolves. */
export function number(value, span) {
  return value === null ? "missing" : value.toFixed(places(span / 100 || 0.01));
}
