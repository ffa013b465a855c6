"""Quantities that are never negative or are directions, recognized by name and units.

What is doubtful has no bound: a forecast a little below zero does less harm than a wrong bound.

Source: CF standard name table, version 85.
"""

from __future__ import annotations

import math
import re

from stconv.sphere import TURN

COMPARED = (
    r"anom|differ|diff\b|tendency|trend|change|increment|departure|deviation|residual|bias|correction|"
    r"error|innovation|standardi[sz]ed|normali[sz]ed|z[-_ ]?score|skew|correlation|covariance|spread|variance"
)
"""Words for what is derived from a quantity, and has another sign or no direction."""
_SIGNED = re.compile(
    "|".join(
        (
            COMPARED,
            r"(^|[^a-z])(net|log|log10|log1p|ln)([^a-z]|$)|logarithm|minus|plus|divergence|balance|budget",
            r"deficit|index|forcing|effect|feedback|eof|component|displacement|elevation|altitude",
            r"sea[_ ]level|(surface|sea|water)[ _]height|height[ _]above|water[_ ]table|groundwater",
            r"geopotential|velocity|northward|eastward|upward_air|vertical|zonal|meridional|radial|temperature",
            r"evap|sublimation|condensation|transpiration|(flux|current|charge)[_ ]density",
            r"(^|[^a-z])([uvw](\d+\w*|as)?|[uvw]_?wind|lwe_thickness(?!_of)|smb|e|et|eto|pet)([^a-z\d]|$)",
        )
    ),
    re.IGNORECASE,
)
"""Words for quantities of either sign, in any units."""
_NEVER_NEGATIVE = re.compile(
    "|".join(
        (
            r"precipitation|(?<![a-z])rain|snow|(?<![a-z])hail|_amount|sunshine|runoff|streamflow|cloud",
            r"humidity|mixing_ratio|concentration|mass_fraction|mole_fraction|area_fraction|density",
            r"thickness|(snow|ice|optical|mixed|layer|flood|water)[_ ]depth|albedo|visibility|speed",
            r"wave_height|significant_height|wave_period|\bcounts?\b|number_of",
            r"(downwelling|upwelling|incoming|outgoing)\w*[_ ]((short|long)wave|radia|solar)",
        )
    ),
    re.IGNORECASE,
)
"""Words for quantities that are never negative, in any units."""
_UNITS_NEVER_NEGATIVE = frozenset(
    {
        *("%", "percent", "kgkg-1", "kg/kg", "gkg-1", "g/kg", "kgm-3", "kg/m3", "gm-3", "g/m3", "ugm-3"),
        *("ug/m3", "\u00b5g/m3", "\u00b5gm-3", "\u03bcg/m3", "\u03bcgm-3", "mgm-3", "mg/m3", "molmol-1"),
        *("mol/mol", "ppm", "ppmv", "ppb", "ppbv", "ppt", "molm-2", "mol/m2", "m-3", "cm-3", "count"),
        *("counts", "people", "vehicles", "trips", "du", "dobson", "okta", "oktas", "lux", "becquerel"),
    }
)
"""Units of quantities that are never negative, without spaces and signs of powers."""
_WATER = re.compile(r"^(mm|cm|kg/m2|kgm-2)((/|s-1|h|hr|hour|d|day|month).*)?$")
"""Units of an amount of water, which may also be an evaporation or a sea level."""
_FALLING_WATER = re.compile(
    r"^(tp|pr|prc|prcp|pcp|prec|precip|ppt|apcp|rr|rf|swe|sd|sf|ro|pw|tcwv|tpw|pwat|imerg|chirps)"
    r"(_?\d+\w*|_\w+)?$",
    re.IGNORECASE,
)
"""Usual names of precipitation, snow, runoff and water in the air."""
_LOGARITHM = re.compile(r"dB|log|\bln\b|lg\(re", re.IGNORECASE)
"""Parts of units of a logarithm, which is negative for small quantities."""
_DIRECTION = re.compile(r"direction|azimuth|bearing|heading|aspect|phase_angle", re.IGNORECASE)
_DIRECTION_NAMES = re.compile(
    r"^(w|wind|wave|swell|sea|current)?_?(dir|dirn|direction)(_?\d+m?)?$|(^|_)(wdir|winddir|wnddir)(_|$)|"
    r"^(wdir|winddir|wd|dd|mwd|mdts|mdww|wdir10|dwi|wnd_?dir|theta_?m)(_?\d+m?)?$",
    re.IGNORECASE,
)
_NO_DIRECTION = re.compile(COMPARED, re.IGNORECASE)
_DEGREES = re.compile(
    r"^(degrees?|deg|\u00b0)[ _]?(t|true|n|north|(clockwise )?from (true )?north|\(?0 ?- ?360\)?)?$",
    re.IGNORECASE,
)
_RADIANS = re.compile(r"^rad(ians?)?$", re.IGNORECASE)
ROUNDED = 1 + 1e-6
"""A full turn in float32 radians may exceed the exact one by this factor."""


def never_negative(name: str, units: str, described: str) -> bool:
    """Whether a quantity cannot be negative, by its names and units.

    Args:
        name: Name of the variable.
        units: Its units as the file spells them.
        described: Its standard name and long name.
    """
    if either_sign(name, units, described):
        return False
    plain = re.sub(r"[\s*^]|\*\*", "", units).lower()
    if plain in _UNITS_NEVER_NEGATIVE or _NEVER_NEGATIVE.search(f"{name.replace('_', ' ')} {described}"):
        return True
    return bool(_WATER.match(plain) and _FALLING_WATER.match(name))


def either_sign(name: str, units: str, described: str) -> bool:
    """Whether names or units say that a quantity may have either sign; arguments as for `never_negative`."""
    return bool(_SIGNED.search(f"{name} {described}") or _LOGARITHM.search(units))


def is_direction(
    name: str, units: str, described: str, lowest: float | None = None, highest: float | None = None
) -> bool:
    """Whether values are directions on a circle, so that 359 degrees is next to 1.

    Args:
        name: Name of the variable.
        units: Its units as the file spells them.
        described: Its standard name and long name.
        lowest: Lowest value, if known; directions span at most one turn.
        highest: Highest value, if known.
    """
    turn = turn_in(units)
    if turn is None or _NO_DIRECTION.search(f"{name} {described}"):
        return False
    if lowest is not None and highest is not None and (lowest < -turn / 2 or highest > turn * ROUNDED):
        return False
    return bool(_DIRECTION.search(described) or _DIRECTION_NAMES.search(name) or _DIRECTION.search(name))


def turn_in(units: str) -> float | None:
    """A full turn in units of an angle: 360 degrees, or 2 pi radians; None for other units."""
    plain = units.strip()
    if _DEGREES.match(plain):
        return TURN
    return 2 * math.pi if _RADIANS.match(plain) else None
