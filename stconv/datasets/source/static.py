"""Reading of static fields on the grid of a series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from stconv.datasets.remote.address import Place
from stconv.datasets.source.axes import Horizontal, find_horizontal
from stconv.datasets.source.axis_match import positions
from stconv.datasets.source.axis_units import degrees, length_in, units_of
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.reading import load, open_file
from stconv.dims import LAT, LON, X, Y
from stconv.errors import GridError, VariableError


def read_static(files: Mapping[str, str | Path], grid: xr.Dataset) -> dict[str, np.ndarray]:
    """Read static fields such as orography or a land mask.

    Args:
        files: File path by variable name.
        grid: Canonical dataset with the required rows and columns; a file may cover more.

    Returns:
        Fields by name, float32, (lat, lon) or (y, x), in canonical order, NaN missing.

    Raises:
        FileError: A file cannot be read.
        VariableError: A file lacks the variable, or the variable has further dimensions.
        GridError: A file lacks rows or columns of the grid.
    """
    return {name: _read(name, find_files(path)[0], grid) for name, path in files.items()}


def _read(name: str, path: Place, grid: xr.Dataset) -> np.ndarray:
    ds = open_file(path, GridSpec())
    if name not in ds.data_vars:
        raise VariableError(
            f"{path}: no variable '{name}'; available: {', '.join(map(str, ds.data_vars)) or 'none'}. "
            "Correct static_files."
        )
    horizontal = find_horizontal(ds, GridSpec(), [name], str(path))
    rows, columns = horizontal.y, horizontal.x
    further = {str(dim): size for dim, size in ds[name].sizes.items() if dim not in (rows, columns)}
    if any(size > 1 for size in further.values()):
        raise VariableError(f"{path}: expected a static '{name}', found dimensions {ds[name].dims}.")
    field = load(ds[[name]], str(path))[name].isel(dict.fromkeys(further, 0)).transpose(rows, columns)
    values = field.values.astype(np.float32)
    if horizontal.geographic and LAT in grid.dims:
        names = (str(horizontal.y_name), str(horizontal.x_name))
        lat, lon = (degrees(ds[n].values, units_of(ds[n]), n, str(path)) for n in names)
        return values[
            np.ix_(_positions(lat, grid[LAT].values, LAT, path), _positions(lon, grid[LON].values, LON, path))
        ]
    if horizontal.geographic or LAT in grid.dims or not _has_coordinates(grid, horizontal):
        return _of_one_shape(values, name, grid, path)
    axes = [
        _positions(
            length_in(ds[axis].values, units_of(ds[axis]), units_of(grid[dim])), grid[dim].values, dim, path
        )
        for dim, axis in ((Y, str(horizontal.y_name)), (X, str(horizontal.x_name)))
    ]
    return values[np.ix_(*axes)]


def _has_coordinates(grid: xr.Dataset, horizontal: Horizontal) -> bool:
    """Whether rows and columns of both have coordinates, not only indices."""
    numbered = any(np.array_equal(grid[dim].values, np.arange(grid.sizes[dim])) for dim in (Y, X))
    return horizontal.y_name is not None and horizontal.x_name is not None and not numbered


def _of_one_shape(values: np.ndarray, name: str, grid: xr.Dataset, path: Place) -> np.ndarray:
    """Accept a field without coordinates if its shape is that of the grid."""
    expected = tuple(grid.sizes[dim] for dim in ((LAT, LON) if LAT in grid.dims else (Y, X)))
    if values.shape != expected:
        raise GridError(
            f"{path}: static '{name}' has {values.shape} rows and columns, the series has {expected}. "
            "Interpolate it to the grid of the series first."
        )
    return values


def _positions(found: np.ndarray, wanted: np.ndarray, dim: str, path: Place) -> np.ndarray:
    """Indices of the wanted coordinates among those found, modulo whole turns."""
    places, absent = positions(wanted, found, turn=dim == LON)
    if absent is not None:
        axis = {LAT: "latitude", LON: "longitude"}.get(dim, dim)
        raise GridError(
            f"{path}: no {axis} {wanted[absent]:.9g}, which the series has; the nearest is "
            f"{found[places[absent]]:.9g}. Interpolate the static field to the grid of the series first."
        )
    return places
