"""Canonical order of latitudes and longitudes, as an invertible permutation; NumPy only."""

from __future__ import annotations

import numpy as np

from stconv.datasets.source.axis_match import SHARE
from stconv.errors import GridError
from stconv.sphere import wrapped

_BEYOND_POLE = 1e-4
"""Degrees by which rounding may move a latitude beyond a pole."""
_SAME_DEGREES = 1e-4
"""Longitudes closer than this (10 m) are the same meridian, unless the grid is nearly as fine."""
FARTHEST = 720.0
"""Largest longitude in degrees, two turns; beyond it are fill values and other quantities."""


def canonical_latitude(lat: np.ndarray, name: str, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Order latitudes from south to north.

    Args:
        lat: Degrees north, (n,).
        name: Name of the coordinate, for messages.
        source: File or dataset, for messages.

    Returns:
        Ascending latitudes in degrees north, float64, (n,), and the permutation such that
        ``canonical = lat[permutation]``.

    Raises:
        GridError: Latitudes are not finite, outside [-90, 90], or not monotonic.
    """
    lat = np.asarray(lat, dtype=np.float64)
    _check_finite(lat, name, source)
    if np.abs(lat).max() > 90 + _BEYOND_POLE:
        raise GridError(
            f"{source}: latitude '{name}' is expected within [-90, 90] degrees, found {lat.min():g} to "
            f"{lat.max():g}. If it is not a latitude, name the rows and columns with `y` and `x` of the "
            "grid specification."
        )
    differences = np.diff(lat)
    if not (np.all(differences > 0) or np.all(differences < 0)):
        sign = np.sign(lat[-1] - lat[0]) or 1.0
        i = int(np.flatnonzero(differences * sign <= 0)[0])
        raise GridError(
            f"{source}: latitude '{name}' is not monotonic: {lat[i]:g} at index {i} is followed by "
            f"{lat[i + 1]:g}. Sort the file, or name another coordinate with `lat` of the grid "
            "specification."
        )
    order = np.argsort(lat)
    return lat[order], order


def canonical_longitude(lon: np.ndarray, name: str, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Order longitudes eastward from the western edge, which lies in [-180, 180).

    The western edge is east of the widest gap of the circle; a global grid, which has no gap, starts at its
    lowest longitude in [-180, 180). Neighbors on the globe thus stay neighbors wherever the file starts, and
    the last longitudes of a grid across the date line exceed 180.

    Args:
        lon: Degrees east, any convention, (n,).
        name: Name of the coordinate, for messages.
        source: File or dataset, for messages.

    Returns:
        Ascending longitudes in degrees east, float64, (n,), and the permutation such that
        ``canonical = lon[permutation]`` up to whole turns.

    Raises:
        GridError: Longitudes are not finite, or a meridian appears twice.
    """
    lon = np.asarray(lon, dtype=np.float64)
    _check_finite(lon, name, source)
    if np.abs(lon).max(initial=0.0) > FARTHEST:
        raise GridError(
            f"{source}: longitude '{name}' is expected within [-{FARTHEST:g}, {FARTHEST:g}] degrees, found "
            f"{lon.min():g} to {lon.max():g}. If it is not a longitude, name the rows and columns with `y` "
            "and `x` of the grid specification."
        )
    same = same_meridian(lon)
    degrees = wrapped(lon)
    degrees[degrees >= 180.0 - same] -= 360.0  # 180 rounded down is still the western edge
    order = np.argsort(degrees, kind="stable")
    ordered = degrees[order]
    gaps = np.append(np.diff(ordered), ordered[0] + 360.0 - ordered[-1])
    if lon.size > 1 and gaps.min() <= same:
        i = int(gaps.argmin())
        first, second = sorted((int(order[i]), int(order[(i + 1) % lon.size])))
        raise GridError(
            f"{source}: longitude '{name}' contains one meridian twice: {lon[first]:.9g} at index {first} "
            f"and {lon[second]:.9g} at index {second}. Drop one of them, for example "
            f"`ds.isel({name}=slice(0, -1))`."
        )
    widest = int(gaps.argmax())
    is_global = gaps[widest] < 1.5 * np.median(gaps)
    if not is_global and widest < lon.size - 1:
        order = np.roll(order, -(widest + 1))
        ordered = np.roll(ordered, -(widest + 1))
        ordered[lon.size - widest - 1 :] += 360.0
    return ordered, order


def is_cyclic(lon: np.ndarray) -> bool:
    """Whether the last column repeats the meridian of the first (0 and 360)."""
    lon = np.asarray(lon, dtype=np.float64)
    return (
        lon.size > 2
        and bool(np.isfinite(lon).all())
        and bool(abs(abs(lon[-1] - lon[0]) - 360.0) <= same_meridian(lon))
    )


def same_meridian(lon: np.ndarray) -> float:
    """Tolerance in degrees for equal meridians, far below the usual spacing of the axis."""
    steps = np.sort(np.abs(np.diff((np.asarray(lon, dtype=np.float64) + 180.0) % 360.0)))
    steps = steps[:-1] if steps.size > 1 else steps  # without the jump at the edge of the convention
    usual = float(np.median(steps)) if steps.size else np.inf
    return min(_SAME_DEGREES, SHARE * usual)


def _check_finite(values: np.ndarray, name: str, source: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if values.size == 0 or bad.size:
        found = f"a missing value at index {bad[0]}" if bad.size else "no values"
        raise GridError(f"{source}: coordinate '{name}' is expected to be finite, found {found}.")
