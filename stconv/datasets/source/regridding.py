"""Fields brought to another grid, by the latitudes and longitudes of both."""

from __future__ import annotations

import importlib.util

import numpy as np
import xarray as xr

from stconv.datasets.source.axis_match import same_axis, spacing
from stconv.datasets.source.curvilinear import degrees_of_cells, on_sphere, weights_between
from stconv.datasets.source.further import Regridding
from stconv.datasets.source.projection import Projection
from stconv.dims import LAT, LON, TIME, X, Y
from stconv.errors import GridError
from stconv.sphere import TURN, within, wrapped

SAME_PLACE = 1e-5
"""Distance on the unit sphere below which two cells lie at the same place: 64 m on Earth."""


def on_grid(
    ds: xr.Dataset,
    grid: xr.Dataset,
    method: Regridding,
    source: str,
    projections: tuple[Projection | None, Projection | None] = (None, None),
) -> xr.Dataset:
    """Bring canonical fields to the grid of another canonical dataset.

    Args:
        ds: Fields, lazy or in memory.
        grid: Dataset with the wanted rows and columns.
        method: "bilinear" or "conservative".
        source: Name of the fields, for messages.
        projections: Projection of the fields and of the wanted grid, where they state one.

    Returns:
        The fields on the wanted grid, NaN outside of their own; unchanged if it is the same grid.

    Raises:
        GridError: The grids differ and one has no latitudes and longitudes, or they do not overlap, or a
            package is absent, or areas are to be kept on a grid with two-dimensional coordinates.
    """
    rows, columns = (LAT, LON) if LAT in grid.dims else (Y, X)
    theirs, ours = projections
    together = theirs == ours or theirs is None or ours is None
    if _same(ds, grid, rows) and _same(ds, grid, columns) and together and not _places_differ(ds, grid):
        return ds.assign_coords({dim: grid[dim] for dim in (rows, columns) if dim in grid.coords})
    if LAT not in ds.dims or LAT not in grid.dims:
        return _by_places(ds, grid, (rows, columns), method, source)
    target = xr.Dataset(coords={LAT: grid[LAT].values, LON: grid[LON].values})
    _refuse_apart(ds, target, source)
    if method == "conservative":
        if importlib.util.find_spec("xarray_regrid") is None:
            raise GridError(
                f"{source} is to be regridded conservatively, which needs an extra: pip install "
                "'stconv[regrid]'. Or set regrid to bilinear."
            )
        import xarray_regrid  # noqa: F401 - gives datasets `regrid`

        found = ds.drop_attrs(deep=False).regrid.conservative(target, latitude_coord=LAT, nan_threshold=0.5)
    else:
        found = _all_around(ds).interp({LAT: target[LAT], LON: target[LON]}, method="linear")
    return found.transpose(TIME, LAT, LON).assign_coords({LAT: grid[LAT], LON: grid[LON]})


def _by_places(
    ds: xr.Dataset, grid: xr.Dataset, dims: tuple[str, str], method: Regridding, source: str
) -> xr.Dataset:
    """Interpolate where one of the grids has two-dimensional latitudes and longitudes."""
    here, wanted = degrees_of_cells(ds), degrees_of_cells(grid)
    if here is None or wanted is None:
        without = "it" if here is None else "the series"
        raise GridError(
            f"{source} lies on another grid than the series, and {without} is a projected or pixel grid "
            "without the latitude and longitude of each cell; expected them as two-dimensional coordinates. "
            "Add them, for example with `pyproj.Transformer` from the projection, or regrid first, for "
            "example with `cdo remapbil`."
        )
    if method == "conservative":
        raise GridError(
            f"{source} is to be regridded conservatively, but one of the grids has two-dimensional latitudes "
            "and longitudes; expected one-dimensional ones in both. Set regrid to bilinear."
        )
    places = {dim: grid[dim] for dim in dims if dim in grid.coords}
    if LAT in ds.dims:
        lat, lon = (xr.DataArray(values, dims=dims) for values in (wanted[0], wrapped(wanted[1])))
        found = _all_around(ds).interp({LAT: lat, LON: lon}, method="linear").drop_vars([LAT, LON])
        inside = _any_inside(ds, *wanted)
    else:
        weights = weights_between(*here, *wanted)
        found = xr.apply_ufunc(
            weights.interpolate,
            ds.drop_vars([str(name) for name in ds.coords if name != TIME]),
            input_core_dims=[[Y, X]],
            output_core_dims=[list(dims)],
            exclude_dims={Y, X},
            dask="parallelized",
            output_dtypes=[np.float64],
            dask_gufunc_kwargs={"output_sizes": dict(zip(dims, wanted[0].shape, strict=True))},
        )
        inside = bool(weights.inside.any())
    if not inside:
        theirs, ours = (f"lat {_range(lat)} and lon {_range(lon)}" for lat, lon in (here, wanted))
        raise GridError(
            f"{source} covers {theirs}, the series {ours}: they do not overlap. Give a source of the same "
            "region."
        )
    return found.transpose(TIME, *dims).assign_coords(places)


def _range(values: np.ndarray) -> str:
    return f"{np.nanmin(values):.6g} to {np.nanmax(values):.6g}"


def _same(ds: xr.Dataset, grid: xr.Dataset, dim: str) -> bool:
    if dim not in ds.dims or ds.sizes[dim] != grid.sizes[dim]:
        return False
    if dim not in ds.coords or dim not in grid.coords:
        return dim not in ds.coords and dim not in grid.coords
    return same_axis(grid[dim].values, ds[dim].values, turn=dim == LON)


def _places_differ(ds: xr.Dataset, grid: xr.Dataset) -> bool:
    """Whether cells of the same row and column lie at other places, by latitudes and longitudes of both."""
    if LAT in ds.dims or LAT in grid.dims:
        return False
    here, wanted = degrees_of_cells(ds), degrees_of_cells(grid)
    if here is None or wanted is None:
        return False
    apart = np.linalg.norm(on_sphere(*here) - on_sphere(*wanted), axis=-1)
    return bool((apart[np.isfinite(apart)] > SAME_PLACE).any())


def _all_around(ds: xr.Dataset) -> xr.Dataset:
    """Repeat the outer columns of a grid that goes around the globe, so that no gap is left between them."""
    lon = ds[LON].values
    if lon.size < 2 or lon[-1] - lon[0] + 1.5 * spacing(lon) < TURN:
        return ds
    parts = [ds.isel({LON: [-1]}), ds, ds.isel({LON: [0]})]
    parts[0] = parts[0].assign_coords({LON: parts[0][LON] - TURN})
    parts[2] = parts[2].assign_coords({LON: parts[2][LON] + TURN})
    return xr.concat(parts, LON, data_vars="minimal", coords="minimal", compat="override")


def _any_inside(ds: xr.Dataset, lat: np.ndarray, lon: np.ndarray) -> bool:
    around = _all_around(ds)
    rows, columns = around[LAT].values, around[LON].values
    return bool((within(lat, rows[0], rows[-1]) & within(wrapped(lon), columns[0], columns[-1])).any())


def _refuse_apart(ds: xr.Dataset, target: xr.Dataset, source: str) -> None:
    for dim in (LAT, LON):
        low, high = float(ds[dim].min()), float(ds[dim].max())
        wanted = target[dim].values
        if not ((wanted >= low - 1e-6) & (wanted <= high + 1e-6)).any():
            raise GridError(
                f"{source} covers {dim} {low:.6g} to {high:.6g}, the series {wanted.min():.6g} to "
                f"{wanted.max():.6g}: they do not overlap. Give a source of the same region."
            )
