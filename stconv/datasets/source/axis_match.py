"""Comparison of coordinates of files, static fields and models: equal up to rounding, or different."""

from __future__ import annotations

import numpy as np

from stconv.sphere import TURN, wrapped

SHARE = 0.03
"""Fraction of the spacing that counts as rounding; a tenth of a cell is another grid."""
LONE_POINT = 1e-3
"""Tolerance for an axis of one point, which has no spacing."""


def tolerance(first: np.ndarray, second: np.ndarray | None = None, turn: bool = False) -> float:
    """Largest distance at which points of two axes are the same.

    A fraction of the spacing or, if larger, the resolution of float32: half the distance of neighboring
    numbers at the largest value, for each axis that was stored in float32.

    Args:
        first: Coordinates, (n,).
        second: Coordinates to compare with; None to compare the first with itself.
        turn: Whether the axis is a longitude, which may have been rounded in another convention (350 for
            -10).

    Returns:
        Tolerance in the units of the axis; 0 for a single point in float64.
    """
    axes = [np.asarray(axis, dtype=np.float64) for axis in (first, second) if axis is not None]
    rounding = sum(_rounding(axis, turn) for axis in axes)
    return max(SHARE * spacing(axes[0]), 1.01 * rounding)


def spacing(axis: np.ndarray) -> float:
    """Smallest distance between two neighbors, 0 for fewer than two points."""
    axis = np.asarray(axis, dtype=np.float64)
    return float(np.abs(np.diff(axis)).min()) if axis.size > 1 else 0.0


def difference(expected: np.ndarray, found: np.ndarray, turn: bool = False) -> float:
    """Largest distance between corresponding points of two axes of equal length, modulo whole turns."""
    apart = np.asarray(found, dtype=np.float64) - np.asarray(expected, dtype=np.float64)
    return float(np.abs(wrapped(apart) if turn else apart).max()) if apart.size else 0.0


def same_axis(expected: np.ndarray, found: np.ndarray, turn: bool = False) -> bool:
    """Whether two axes are equal up to rounding.

    Args:
        expected: Coordinates, (n,).
        found: Coordinates, (m,).
        turn: Whether the axes are longitudes, which are equal modulo whole turns.
    """
    if len(expected) != len(found):
        return False
    return difference(expected, found, turn) <= _allowed(expected, found, turn)


def positions(wanted: np.ndarray, found: np.ndarray, turn: bool = False) -> tuple[np.ndarray, int | None]:
    """Find the points of one axis on another, which may hold more points.

    Args:
        wanted: Coordinates, (n,).
        found: Coordinates, in any order, (m,).
        turn: Whether the axes are longitudes, which are equal modulo whole turns.

    Returns:
        Index in `found` of the nearest point to each, (n,), and the first point without a match within the
        tolerance, or None.
    """
    wanted, found = np.asarray(wanted, dtype=np.float64), np.asarray(found, dtype=np.float64)
    allowed, nearest = _allowed(wanted, found, turn), np.empty(wanted.size, dtype=np.intp)
    for i, point in enumerate(wanted):
        apart = np.abs(wrapped(found - point) if turn else found - point)
        nearest[i] = apart.argmin()
        if apart[nearest[i]] > allowed:
            return nearest, i
    return nearest, None


def even(axis: np.ndarray, share: float = 0.02) -> bool:
    """Whether an axis is evenly spaced, up to a fraction of the spacing and the rounding of float32."""
    steps = np.abs(np.diff(np.asarray(axis, dtype=np.float64)))
    rounding = 4 * _rounding(np.asarray(axis, dtype=np.float64), turn=False)
    return steps.size > 0 and bool(np.ptp(steps) <= max(share * steps.max(), rounding))


def _allowed(first: np.ndarray, second: np.ndarray, turn: bool) -> float:
    least = 0.0 if len(first) > 1 else LONE_POINT
    return max(tolerance(first, second, turn), least)


def _rounding(axis: np.ndarray, turn: bool) -> float:
    """Half the distance of float32 numbers at the largest value, if the axis was stored as float32."""
    widest = 0.0
    for shift in (0.0, TURN, -TURN) if turn else (0.0,):
        values = axis + shift
        rounded = values.astype(np.float32).astype(np.float64)
        if axis.size and np.allclose(values, rounded, rtol=1e-11, atol=1e-11):
            widest = max(widest, float(np.spacing(np.float32(np.abs(values).max()))) / 2)
    return widest
