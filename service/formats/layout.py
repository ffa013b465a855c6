"""Rows and columns of a forecast, independent of the names of its dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from stconv.datasets.source.axes import find_horizontal
from stconv.datasets.source.grid_spec import GridSpec
from stconv.forecast.output import lead_of


@dataclass(frozen=True)
class Layout:
    """The axes of a forecast, in the order of its arrays.

    Attributes:
        lead: Dimension of the leads.
        y: Dimension of the rows.
        x: Dimension of the columns.
        rows: Coordinate of the rows: degrees north, projected, or numbers from 0.
        columns: Coordinate of the columns: degrees east, projected, or numbers from 0.
        geographic: Whether the coordinates are latitude and longitude.
    """

    lead: str
    y: str
    x: str
    rows: np.ndarray
    columns: np.ndarray
    geographic: bool

    def fields(self, array: xr.DataArray) -> np.ndarray:
        """Return the values of a variable, (lead, row, column)."""
        single = [dim for dim in array.dims if dim not in (self.lead, self.y, self.x)]
        return np.asarray(array.squeeze(single).transpose(self.lead, self.y, self.x).values)


def field_names(forecast: xr.Dataset) -> list[str]:
    """Return the names of the fields: all but grid mappings and bounds."""
    lead = lead_of(forecast)
    return [str(name) for name, array in forecast.data_vars.items() if lead in array.dims]


def find_layout(forecast: xr.Dataset, source: GridSpec | None = None) -> Layout:
    """Find the axes by their attributes and names.

    Args:
        forecast: Result of `Forecaster.forecast`.
        source: Names of the axes in the training data; tried first.

    Raises:
        GridError: The axes cannot be identified.
    """
    source = source or GridSpec()
    present = {*map(str, forecast.variables), *map(str, forecast.dims)}
    named = {key: getattr(source, key) for key in ("lat", "lon", "y", "x")}
    spec = GridSpec(**{key: name for key, name in named.items() if name in present})
    found = find_horizontal(forecast, spec, field_names(forecast), "the forecast")
    return Layout(
        lead_of(forecast),
        found.y,
        found.x,
        _axis(forecast, found.y_name, found.y),
        _axis(forecast, found.x_name, found.x),
        found.geographic,
    )


def _axis(forecast: xr.Dataset, name: str | None, dim: str) -> np.ndarray:
    if name is None or name not in forecast.variables:
        return np.arange(forecast.sizes[dim], dtype=float)
    return np.asarray(forecast[name].values, dtype=float)
