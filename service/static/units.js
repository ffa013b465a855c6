// Units that a reader may choose; a value has a scale and an offset, a difference of two values a scale only.

const ALONE = /anomal|difference|departure|deviation|increment|tendency|bias|error|uncertainty|spread/i;
const simplified = (units) => units.trim().toLowerCase().replace(/\s*\*\*\s*|\^/g, "").replace(/\s+/g, " ");

/** Families of units, the one shown first in front; `from` gives the size and zero of each spelling in the base unit,
 * and `to` those of each choice. */
const FAMILIES = [
  {
    name: "temperature",
    from: [[/^(deg(rees?)?[ _]?)?k(elvins?)?$/, 1, 0], [/^(°|deg(rees?)?[ _]?)?c(elsius)?$/, 1, 273.15],
      [/^(°|deg(rees?)?[ _]?)?f(ahrenheit)?$/, 5 / 9, 459.67 * (5 / 9)]],
    to: [["°C", 1, 273.15], ["°F", 5 / 9, 459.67 * (5 / 9)], ["K", 1, 0]],
  },
  {
    name: "speed",
    from: [[/^m(et(er|re)s?)?( ?\/ ?| per )s(ec(onds?)?)?$|^m[ .]s-1$/, 1, 0], [/^km( ?\/ ?h| h-1| hr-1)$/, 1 / 3.6, 0],
      [/^(kt|kts|kn|knots?)$/, 1852 / 3600, 0]],
    to: [["m/s", 1, 0], ["km/h", 1 / 3.6, 0], ["mph", 0.44704, 0], ["kn", 1852 / 3600, 0]],
  },
  {
    name: "pressure",
    from: [[/^pa(scals?)?$/, 1, 0], [/^(hpa|mbar|mb|millibars?)$/, 100, 0]],
    to: [["hPa", 100, 0], ["Pa", 1, 0], ["inHg", 3386.389, 0]],
  },
  {
    name: "rate of precipitation",
    from: [[/^kg m-2 s-1$|^mm s-1$/, 3600, 0], [/^mm( ?\/ ?h| h-1| hr-1)$/, 1, 0]],
    to: [["mm/h", 1, 0], ["in/h", 25.4, 0]],
  },
];

/** The family of a unit, with its size and zero in the base unit; null for all others. */
function familyOf(units) {
  for (const family of FAMILIES) {
    const found = family.from.find(([spelling]) => spelling.test(simplified(units)));
    if (found) return { family, size: found[1], zero: found[2] };
  }
  return null;
}

/** The choices for a unit, the usual one first; a single entry if there is nothing to choose. */
export const choicesFor = (units) => familyOf(units)?.family.to.map(([label]) => label) ?? [plainUnits(units)];

/** A unit in a sentence; "1" and "" have none. */
const plainUnits = (units) => (units === "1" ? "" : units);

/** How to show a variable in a unit that is among `wanted`: {label, choices, value(v), difference(v)}.
 *
 * Null stays null. A variable that is itself a difference, which its name tells, has no zero to move. */
export function shownIn(units, wanted = [], name = "") {
  const found = familyOf(units);
  const choices = choicesFor(units);
  if (!found) return { label: choices[0], choices, value: (v) => v, difference: (v) => v };
  const label = choices.find((choice) => wanted.includes(choice)) ?? choices[0];
  const [, size, zero] = found.family.to.find(([choice]) => choice === label);
  const factor = found.size / size;
  const shift = ALONE.test(name) ? 0 : (found.zero - zero) / size;
  const kept = (convert) => (v) => (v === null || v === undefined ? null : convert(v));
  return { label, choices, value: kept((v) => v * factor + shift), difference: kept((v) => v * factor) };
}
