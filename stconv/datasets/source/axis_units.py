"""Units of axes: angles belong to latitude and longitude, lengths to a projected grid."""

from __future__ import annotations

import math
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.units import linear_conversion, same_dimension, shown
from stconv.errors import GridError, UnitsError

_DEGREES = re.compile(r"(decimal[ _]?)?deg.*|°.*", re.IGNORECASE)
_REVERSED = re.compile(r"(decimal[ _]?)?deg(ree)?s?[ _]?(w|west|s|south)", re.IGNORECASE)
"""Degrees that count to the west or to the south, as old charts do."""
RING = 1e-3
"""Relative tolerance of longitudes that go once around."""
_NOTHING = frozenset({"", "1", "-", "none", "unitless", "unknown", "dimensionless", "n/a", "na"})
"""Units without meaning: such an axis is in degrees if its name or attributes say so."""


def units_of(variable: xr.DataArray | xr.Variable) -> str:
    """Units of a coordinate as text, empty if absent."""
    return str(variable.attrs.get("units", "")).strip()


@lru_cache(maxsize=256)
def is_length(units: str) -> bool:
    """Whether the units of an axis are a length, for example ``m``, ``km`` or ``kilometres``."""
    if units.lower() in _NOTHING or _DEGREES.fullmatch(units):
        return False  # the usual case, without pint, which takes half a second to load
    return same_dimension(units, "m")


def degrees(values: Any, units: str, name: str, source: str) -> np.ndarray:
    """Convert latitudes or longitudes to degrees.

    Args:
        values: Coordinates, (n,).
        units: Units in the file; none, or text without meaning, is degrees.
        name: Name of the coordinate, for messages.
        source: File or dataset, for messages.

    Returns:
        Degrees to the north or to the east, float64, (n,).

    Raises:
        GridError: The values are no numbers, or the units are not an angle.
    """
    try:
        values = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise GridError(
            f"{source}: coordinate '{name}' holds {np.ravel(values)[0]!r}; expected degrees as numbers, for "
            "example -12.5 for 12 degrees and 30 minutes south or west. Convert the coordinate first."
        ) from error
    if _REVERSED.fullmatch(units):
        return -values
    if units.lower() in _NOTHING or _DEGREES.fullmatch(units):
        return values
    try:
        factor, _ = linear_conversion(units, "degree", name, source)
    except UnitsError as error:
        raise GridError(
            f"{source}: coordinate '{name}' is in '{shown(units)}'; expected degrees or radian for a "
            "latitude or longitude. Correct its attribute `units`, or name the rows and columns of "
            "another grid with `y` and `x` of the grid specification."
        ) from error
    return values * factor


def tell_of_radian(lat: np.ndarray, lon: np.ndarray, units: str, name: str, source: str) -> None:
    """Warn if an axis without units looks like radian: longitudes once around, latitudes within a quarter.

    Args:
        lat: Latitudes as they are read, (n,).
        lon: Longitudes as they are read, (m,).
        units: Units of the longitudes in the file.
        name: Name of the longitudes, for messages.
        source: File or dataset, for messages.
    """
    if units.lower() not in _NOTHING or lon.size < 4 or np.abs(lat).max(initial=0.0) > math.pi / 2 + 1e-6:
        return
    around = abs(lon[-1] - lon[0]) * lon.size / (lon.size - 1)
    if abs(around - 2 * math.pi) < RING * 2 * math.pi:
        warnings.warn(
            f"{source}: '{name}' has no units and is read as degrees, but covers 2 pi as radian would. If it "
            "is in radian, set its attribute `units` to 'radian', and that of the latitudes.",
            SourceWarning,
            stacklevel=2,
        )


def length_in(values: Any, units: str, wanted: str) -> np.ndarray:
    """Convert rows or columns of a projected grid to other units if both are lengths.

    Args:
        values: Coordinates, (n,).
        units: Units of the values.
        wanted: Units of the axis to compare with.
    """
    values = np.asarray(values, dtype=np.float64)
    if not (is_length(units) and is_length(wanted)):
        return values
    factor, _ = linear_conversion(units, wanted, "axis", "the axis")
    return values * factor
