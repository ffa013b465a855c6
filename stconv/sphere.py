"""Longitudes that wrap around, ranges across the date line, and area weights of cells."""

from __future__ import annotations

from typing import Any

import numpy as np

TURN = 360.0
"""Degrees."""
DEGREE = "degree"
"""Units of a direction."""


def wrapped(degrees: Any) -> Any:
    """Wrap longitudes, directions or their differences into [-180, 180); a number or an array, as given."""
    return (degrees + TURN / 2) % TURN - TURN / 2


def within_longitudes(lon: np.ndarray, west: float, east: float) -> np.ndarray:
    """Select the columns from one longitude eastward to another, inclusive, also across the date line.

    Args:
        lon: Degrees east, any convention, (n,).
        west: Western end, any convention.
        east: Eastern end, any convention. A range of 360 degrees or more selects every column.

    Returns:
        bool, (n,).
    """
    width = east - west
    return np.asarray((np.asarray(lon) - west) % TURN <= (width if width >= TURN else width % TURN))


def within(axis: np.ndarray, first: float, last: float) -> np.ndarray:
    """Select the rows or columns between two coordinates in either order, inclusive: bool, (n,)."""
    axis = np.asarray(axis)
    return np.asarray((axis >= min(first, last)) & (axis <= max(first, last)))


def area_weights(lat: np.ndarray, n_columns: int, geographic: bool = True) -> np.ndarray:
    """Weight of each cell in an area-weighted mean: cos(latitude) on a geographic grid, else 1.

    Args:
        lat: Coordinate of the rows, degrees north where geographic, (lat,).
        n_columns: Number of columns.
        geographic: Whether rows and columns are latitudes and longitudes.

    Returns:
        float64, (lat, lon), not negative.
    """
    weight = np.cos(np.deg2rad(lat)).clip(0) if geographic else np.ones(len(lat))
    return np.repeat(weight[:, None], n_columns, axis=1)
