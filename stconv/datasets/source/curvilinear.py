"""Bilinear interpolation from a grid with two-dimensional latitudes and longitudes.

Each wanted point lies in a cell between four neighboring points of the grid, found on the unit sphere, where
neither the poles nor the date line are special.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import LAT_NAMES, LON_NAMES
from stconv.dims import LAT, LON, X, Y

NEAREST = 4
"""Number of points of the grid around which the cell of a wanted point is sought."""
INSIDE = -1e-6
"""Smallest weight of a corner, for a point that lies on an edge."""
NAMED = {LAT: ("latitude", "north", LAT_NAMES), LON: ("longitude", "east", LON_NAMES)}


def degrees_of_cells(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Return latitude and longitude of each cell of a canonical dataset, (row, column); None if unknown."""
    if LAT in ds.dims:
        lat, lon = np.meshgrid(ds[LAT].values, ds[LON].values, indexing="ij")
        return lat, lon
    found = [_two_dimensional(ds, axis) for axis in (LAT, LON)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _two_dimensional(ds: xr.Dataset, axis: str) -> np.ndarray | None:
    standard_name, units, names = NAMED[axis]
    for name, coord in ds.coords.items():
        if set(coord.dims) != {Y, X}:
            continue
        attrs = coord.attrs
        marked = attrs.get("standard_name") == standard_name or units in str(attrs.get("units", ""))
        if marked or str(name).removesuffix("_in_file") in names:
            return np.asarray(coord.transpose(Y, X).values, dtype=np.float64)
    return None


def on_sphere(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return unit vectors, (..., 3), of points in degrees."""
    lat, lon = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


@dataclass(frozen=True)
class Weights:
    """Four points of a grid and their weights for each wanted point.

    Attributes:
        points: Index into the flattened grid, (point, 4).
        weights: Sum to 1; 0 for a point outside of the grid, (point, 4).
        inside: Whether the point lies within the grid, (point,).
        shape: Rows and columns that are wanted.
    """

    points: np.ndarray
    weights: np.ndarray
    inside: np.ndarray
    shape: tuple[int, int]

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Interpolate fields, (..., row, column); NaN outside, and where a corner that counts is missing."""
        corners = values.reshape(*values.shape[:-2], -1)[..., self.points]
        found = np.where(self.weights == 0, 0.0, corners * self.weights).sum(-1)
        return np.where(self.inside, found, np.nan).reshape(*values.shape[:-2], *self.shape)


def weights_between(
    lat: np.ndarray, lon: np.ndarray, wanted_lat: np.ndarray, wanted_lon: np.ndarray
) -> Weights:
    """Find the cell of each wanted point and the bilinear weights of its corners.

    Args:
        lat: Latitudes of the grid, degrees, (row, column); NaN where the grid has no point.
        lon: Longitudes, degrees.
        wanted_lat: Latitudes of the wanted points, (row, column).
        wanted_lon: Longitudes.
    """
    from scipy.spatial import cKDTree  # `stconv inspect` starts without scipy

    grid = on_sphere(lat, lon)
    wanted = on_sphere(wanted_lat, wanted_lon).reshape(-1, 3)
    there = np.flatnonzero(np.isfinite(grid).all(-1))
    _, near = cKDTree(grid.reshape(-1, 3)[there]).query(wanted, min(NEAREST, there.size))
    points, weights = np.zeros((len(wanted), 4), dtype=np.int64), np.zeros((len(wanted), 4))
    best = np.full(len(wanted), -np.inf)
    for nearest in there[near.reshape(len(wanted), -1)].T:
        left = np.flatnonzero(best < INSIDE)
        for down in (-1, 1):
            for right in (-1, 1):
                corners, exists = _corners(nearest[left], down, right, lat.shape)
                along = _along(grid.reshape(-1, 3), corners, wanted[left])
                least = np.where(exists, np.minimum(along, 1 - along).min(-1), -np.inf)
                better = least > best[left]  # never where a corner has no place (NaN)
                best[left[better]] = least[better]
                points[left[better]] = corners[better]
                weights[left[better]] = _bilinear(along[better])
    inside = best >= INSIDE
    weights[~inside] = 0
    return Weights(points, weights, inside, (wanted_lat.shape[0], wanted_lat.shape[1]))


def _corners(
    nearest: np.ndarray, down: int, right: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a cell at a point: itself, along the rows, along the columns, opposite."""
    row, column = np.divmod(nearest, shape[1])
    next_row, next_column = row + down, column + right
    exists = (next_row == next_row.clip(0, shape[0] - 1)) & (next_column == next_column.clip(0, shape[1] - 1))
    next_row, next_column = np.where(exists, next_row, row), np.where(exists, next_column, column)
    corners = ((row, column), (next_row, column), (row, next_column), (next_row, next_column))
    return np.stack([r * shape[1] + c for r, c in corners], axis=-1), exists


def _along(grid: np.ndarray, corners: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how far a point lies along both sides of a cell, (point, 2), 0 to 1 inside.

    The sides are seen from the sphere's center, projected onto the plane of the triangle in which the point
    lies: of the first corner, the opposite one, and one of the other two.
    """
    found = np.full((len(wanted), 2), np.nan)
    best = np.full(len(wanted), -np.inf)
    first, opposite = grid[corners[:, 0]], grid[corners[:, 3]]
    for side in (1, 2):
        other = grid[corners[:, side]]
        shares = np.stack(
            [_product(wanted, *pair) for pair in ((other, opposite), (opposite, first), (first, other))],
            axis=-1,
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = shares / shares.sum(-1, keepdims=True)
        far, near = shares[:, 2] + shares[:, 1], shares[:, 2]
        better = shares.min(-1) > best
        best[better] = shares[better].min(-1)
        found[better] = np.stack([far, near] if side == 1 else [near, far], axis=-1)[better]
    return found


def _product(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the triple product of vectors, the volume that they span."""
    return np.einsum("ij,ij->i", a, np.cross(b, c))


def _bilinear(along: np.ndarray) -> np.ndarray:
    down, right = np.clip(along, 0, 1).T
    return np.stack([(1 - down) * (1 - right), down * (1 - right), (1 - down) * right, down * right], axis=-1)
