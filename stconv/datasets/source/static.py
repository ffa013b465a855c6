"""Fields without time, from files, put on the grid of a series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import find_horizontal
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.reading import find_files, load, open_file
from stconv.dims import LAT, LON, X, Y
from stconv.errors import GridError, VariableError
from stconv.sphere import wrapped

_SAME_DEGREES = 1e-3


def read_static(files: Mapping[str, str | Path], grid: xr.Dataset) -> dict[str, np.ndarray]:
    """Read static fields such as orography or a land mask.

    Args:
        files: File by name of the variable in it.
        grid: Canonical dataset whose rows and columns the fields must have; a file may cover more.

    Returns:
        float32, (lat, lon) or (y, x), in canonical order, NaN missing, by name.

    Raises:
        FileError: A file can not be read.
        VariableError: It does not hold the variable, or the variable has further dimensions.
        GridError: It lacks rows or columns of the grid.
    """
    return {name: _read(name, find_files(path)[0], grid) for name, path in files.items()}


def _read(name: str, path: Path, grid: xr.Dataset) -> np.ndarray:
    ds = open_file(path, GridSpec())
    if name not in ds.data_vars:
        raise VariableError(
            f"{path}: no variable '{name}'; there are: {', '.join(map(str, ds.data_vars)) or 'none'}. "
            "Correct static_files."
        )
    horizontal = find_horizontal(ds, GridSpec(), [name], str(path))
    rows, columns = horizontal.y, horizontal.x
    further = {str(dim): size for dim, size in ds[name].sizes.items() if dim not in (rows, columns)}
    if any(size > 1 for size in further.values()):
        raise VariableError(f"{path}: a static '{name}' is expected, it has dimensions {ds[name].dims}.")
    field = load(ds[[name]], str(path))[name].isel(dict.fromkeys(further, 0)).transpose(rows, columns)
    if horizontal.geographic and LAT in grid.dims:
        lat = _positions(ds[horizontal.y_name].values, grid[LAT].values, "latitude", path)
        lon = _positions(ds[horizontal.x_name].values, grid[LON].values, "longitude", path)
        return field.values[np.ix_(lat, lon)].astype(np.float32)
    expected = tuple(grid.sizes[dim] for dim in ((LAT, LON) if LAT in grid.dims else (Y, X)))
    if field.shape != expected:
        raise GridError(
            f"{path}: static '{name}' has {field.shape} rows and columns, the series has {expected}. "
            "Put it on the grid of the series first."
        )
    return field.values.astype(np.float32)


def _positions(found: np.ndarray, wanted: np.ndarray, axis: str, path: Path) -> list[int]:
    """Where the wanted degrees are among those found, whole turns aside."""
    positions = []
    for degrees in wanted:
        distance = np.abs(wrapped(found.astype(float) - degrees))
        if distance.min() > _SAME_DEGREES:
            raise GridError(
                f"{path}: no {axis} {degrees:g}, which the series has; the nearest is "
                f"{found[distance.argmin()]:g}. Put the static field on the grid of the series first."
            )
        positions.append(int(distance.argmin()))
    return positions
