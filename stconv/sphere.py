"""Longitudes that wrap around, ranges across the date line, and the area of the cells between them."""

from __future__ import annotations

from typing import Any

import numpy as np

TURN = 360.0
"""Degrees."""


def wrapped(degrees: Any) -> Any:
    """Longitudes, directions or differences between them in [-180, 180); a number or an array, as given."""
    return (degrees + TURN / 2) % TURN - TURN / 2


def within_longitudes(lon: np.ndarray, west: float, east: float) -> np.ndarray:
    """Columns from one longitude eastward to another, both included; the range may cross the date line.

    Args:
        lon: Degrees east, any convention, (n,).
        west: First longitude, any convention.
        east: Last one. A range of a turn or more holds every column.

    Returns:
        bool, (n,).
    """
    width = east - west
    return np.asarray((np.asarray(lon) - west) % TURN <= (width if width >= TURN else width % TURN))


def within(axis: np.ndarray, first: float, last: float) -> np.ndarray:
    """Rows or columns from one coordinate to another, in either order, both included: bool, (n,)."""
    axis = np.asarray(axis)
    return np.asarray((axis >= min(first, last)) & (axis <= max(first, last)))


def area_weights(lat: np.ndarray, n_columns: int, geographic: bool = True) -> np.ndarray:
    """Weight of each cell in a mean over the area: cos(latitude) on a geographic grid, else 1.

    Args:
        lat: Coordinate of the rows, degrees north where geographic, (lat,).
        n_columns: Number of columns.
        geographic: Whether rows and columns are latitudes and longitudes.

    Returns:
        float64, (lat, lon), not negative.
    """
    weight = np.cos(np.deg2rad(lat)).clip(0) if geographic else np.ones(len(lat))
    return np.repeat(weight[:, None], n_columns, axis=1)
