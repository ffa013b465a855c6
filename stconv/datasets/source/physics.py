"""Quantities that are never negative or are directions, recognized by name and units, not by sample.

Source: CF standard name table, version 85.
"""

from __future__ import annotations

import re

from stconv.sphere import TURN

SIGNED = re.compile(
    r"anomal|difference|tendency|change|increment|departure|residual|bias|correction|error|_net|net_|^net\b|"
    r"\bnet\b|minus|divergence|deviation_from|displacement|elevation|altitude|sea_level|sea level|"
    r"(surface|sea|water)[ _]height|height[ _]above|velocity|northward|eastward|upward_air|geopotential|"
    r"temperature",
    re.IGNORECASE,
)
"""Words for quantities of either sign, in any units."""
NEVER_NEGATIVE = re.compile(
    r"precipitation|rain|snow|hail|_amount|humidity|mixing_ratio|speed|area_fraction|cloud|concentration|"
    r"mass_fraction|mole_fraction|thickness|depth|wave_height|significant_height|wave_period|optical|density|"
    r"albedo|visibility|downwelling|upwelling|incoming|sunshine|runoff|streamflow|discharge|count|number_of",
    re.IGNORECASE,
)
"""Words for quantities that are never negative, in any units."""
UNITS_NEVER_NEGATIVE = frozenset(
    {
        *("%", "percent", "mm", "mm/h", "mm/hr", "mm/hour", "mm/day", "mm/d", "mm/month", "mmh-1", "mmhr-1"),
        *("mmday-1", "mmd-1", "kgm-2", "kg/m2", "kgkg-1", "kg/kg", "gkg-1", "g/kg", "kgm-3", "kg/m3", "gm-3"),
        *("g/m3", "ugm-3", "ug/m3", "\u00b5g/m3", "\u00b5gm-3", "\u03bcg/m3", "\u03bcgm-3", "mgm-3", "mg/m3"),
        *("molmol-1", "mol/mol", "ppm", "ppmv", "ppb", "ppbv", "ppt", "molm-2", "mol/m2", "m-3", "cm-3"),
        *(
            "count",
            "counts",
            "people",
            "vehicles",
            "trips",
            "du",
            "dobson",
            "okta",
            "oktas",
            "lux",
            "becquerel",
        ),
    }
)
"""Units of quantities that are never negative, without spaces and signs of powers."""
DIRECTION = re.compile(r"direction|azimuth|bearing|heading|aspect|phase_angle", re.IGNORECASE)
DIRECTION_NAMES = re.compile(
    r"^(w|wind|wave|swell|sea|current)?_?(dir|dirn|direction)(_?\d+m?)?$|^(wdir|winddir|wd|dd|mwd|mdts|mdww|wdir10|dwi|"
    r"wnd_?dir|theta_?m)(_?\d+m?)?$",
    re.IGNORECASE,
)
DEGREES = frozenset(
    {"degree", "degrees", "deg", "\u00b0", "degree_true", "degrees_true", "degreetrue", "degreestrue"}
)


def never_negative(name: str, units: str, described: str) -> bool:
    """Whether a quantity cannot be negative, by its names and units.

    Args:
        name: Name of the variable.
        units: Its units as the file spells them.
        described: Its standard name and long name.
    """
    words = f"{name} {described}"
    if SIGNED.search(words):
        return False
    plain = re.sub(r"[\s*^]|\*\*", "", units).lower()
    return plain in UNITS_NEVER_NEGATIVE or bool(NEVER_NEGATIVE.search(described or name))


def is_direction(
    name: str, units: str, described: str, lowest: float | None = None, highest: float | None = None
) -> bool:
    """Whether values are directions in degrees, so that 359 is next to 1.

    Args:
        name: Name of the variable.
        units: Its units as the file spells them.
        described: Its standard name and long name.
        lowest: Lowest value, if known; directions span at most 360 degrees.
        highest: Highest value, if known.
    """
    if units.strip().lower() not in DEGREES or SIGNED.search(f"{name} {described}"):
        return False
    if lowest is not None and highest is not None and (lowest < -TURN / 2 or highest > TURN):
        return False
    return bool(DIRECTION.search(described) or DIRECTION_NAMES.search(name) or DIRECTION.search(name))
