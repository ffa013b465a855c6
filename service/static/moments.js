// Times of any CF calendar, all UTC: a Date in the Gregorian one, otherwise an object with the same methods.

/** Short names of the months. */
export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const NO_LEAP = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const ALL_LEAP = NO_LEAP.map((days, month) => (month === 1 ? 29 : days));
const LENGTHS = {
  "360_day": NO_LEAP.map(() => 30),
  noleap: NO_LEAP, "365_day": NO_LEAP,
  all_leap: ALL_LEAP, "366_day": ALL_LEAP,
};

/** A time of a calendar in which all years have the same length; it has no days of the week. */
class CalendarTime {
  constructor(text, lengths) {
    const [year, month, date, hour = 0, minute = 0, second = 0] = text.split(/[-T:]/).map(parseFloat);
    const before = lengths.slice(0, month - 1).reduce((sum, days) => sum + days, 0);
    const inYear = lengths.reduce((sum, days) => sum + days, 0);
    this.text = text;
    this.day = `${date} ${MONTHS[month - 1]} ${year}`;
    this.milliseconds = ((((year * inYear + before + date - 1) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
  }

  valueOf() { return this.milliseconds; }

  toISOString() { return this.text; }
}

/** The time that an ISO 8601 text names in a calendar. */
export function moment(text, calendar = "standard") {
  const plain = String(text).replace("Z", "");
  return LENGTHS[calendar] ? new CalendarTime(plain, LENGTHS[calendar]) : new Date(`${plain}Z`);
}

/** Whether CoverageJSON supports the calendar. */
export const isGregorian = (calendar) => ["standard", "gregorian", "proleptic_gregorian"].includes(calendar);
