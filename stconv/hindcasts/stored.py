"""The forecasts of a store as a test sees them: in the units, the order and on the grid of the model."""

from __future__ import annotations

from collections.abc import Sequence

import dask
import numpy as np
import xarray as xr

from stconv.bundle import Contract
from stconv.datasets.remote.address import Place
from stconv.datasets.series.store import Series
from stconv.datasets.source.axis_match import positions
from stconv.datasets.source.units import linear_conversion
from stconv.dims import LAT, LON, X, Y
from stconv.errors import ConfigError, GridError
from stconv.forecast.output import lead_of
from stconv.forecast.units import Conversion
from stconv.forecast.window import Frames
from stconv.hindcasts.journal import ATTRIBUTE, MADE, STATUS, read_origin
from stconv.hindcasts.store import open_hindcast
from stconv.uncertainty.bands import BOUNDS


class Stored:
    """A stored hindcast, read chunk by chunk.

    Args:
        place: Folder or address of the store.

    Attributes:
        origin: Origin of the forecasts, see `journal.Origin`.
        made: Whether the forecast of each reference time was made, bool.

    Raises:
        FileError: There is no store.
        ConfigError: The store is not a hindcast.
    """

    def __init__(self, place: Place) -> None:
        self._ds = open_hindcast(place)
        self.origin = read_origin(self._ds.attrs.get(ATTRIBUTE), str(place))
        self.made: np.ndarray = self._ds[STATUS].values == MADE
        (self._reference,) = self._ds[STATUS].dims
        self._lead = lead_of(self._ds)
        self.place = place

    def rows(self, series: Series, references: Sequence[int]) -> dict[int, int]:
        """Find the forecasts that were made from some reference times.

        Args:
            series: The series.
            references: Reference indices in the series.

        Returns:
            Row in the store by reference index.
        """
        frames = Frames(self._ds[self._reference].values, series.step)
        known = [i for i in references if series.times[i] in frames]
        rows = frames.positions([series.times[i] for i in known])
        return {i: row for i, row in zip(known, rows, strict=True) if self.made[row]}

    def bounds(self, contract: Contract) -> bool:
        """Return whether the store has the bounds of every target."""
        return all(f"{target.name}{bound}" in self._ds for target in contract.targets for bound in BOUNDS)

    def fields(self, rows: Sequence[int], contract: Contract, series: Series, bands: bool) -> np.ndarray:
        """Read forecasts.

        Args:
            rows: Rows in the store.
            contract: Contract of the model.
            series: Series with the grid of the model.
            bands: Also read the bounds.

        Returns:
            float32, (1 + bounds, batch, target, leads, lat, lon), in the units of the model.

        Raises:
            ConfigError: The store has fewer leads than the model.
            GridError: The store lacks a cell of the grid.
        """
        n_leads = self._ds.sizes[self._lead]
        if n_leads < contract.leads:
            raise ConfigError(
                f"'{self.place}' holds {n_leads} leads, the model has {contract.leads}; a test scores all of "
                "them. Make the hindcast without --steps."
            )
        suffixes = ["", *(BOUNDS if bands else ())]
        with dask.config.set(scheduler="synchronous"):
            found = [
                [
                    self._field(f"{target.name}{suffix}", target.name, rows, contract, series)
                    for target in contract.targets
                ]
                for suffix in suffixes
            ]
        return np.stack([np.stack(parts, axis=1) for parts in found])

    def _field(
        self, name: str, target: str, rows: Sequence[int], contract: Contract, series: Series
    ) -> np.ndarray:
        array = self._ds[name].isel({self._reference: list(rows), self._lead: slice(contract.leads)})
        units = {variable.name: (variable.units, variable.center) for variable in contract.targets}
        expected, center = units[target]
        stated = str(array.attrs.get("units", expected))
        factors = linear_conversion(stated, expected, name, str(self.place)) if expected else (1.0, 0.0)
        row_dim, column_dim, rows_at, columns_at = self._cells(array, series)
        single = [dim for dim in array.dims if dim not in (self._reference, self._lead, row_dim, column_dim)]
        values = array.isel(dict.fromkeys(single, 0)).transpose(
            self._reference, self._lead, row_dim, column_dim
        )
        picked = np.asarray(values.values)[:, :, rows_at][..., columns_at]
        return Conversion(*factors, center).forward(picked)

    def _cells(self, array: xr.DataArray, series: Series) -> tuple[str, str, np.ndarray, np.ndarray]:
        """Return the dimensions of rows and columns, and where the cells of the series lie along them."""
        names = (LAT, LON) if series.geographic else (Y, X)
        found: list[tuple[str, np.ndarray]] = []
        for canonical, axis in zip(names, (series.lat, series.lon), strict=True):
            own = series.origin.dims.get(canonical, canonical) if series.origin else canonical
            dims = [str(dim) for dim in array.dims if dim not in (self._reference, self._lead)]
            for dim in sorted(dims, key=lambda dim: dim not in (own, canonical)):
                coordinate = array[dim].values if dim in array.coords else np.arange(float(array.sizes[dim]))
                places, lacking = positions(np.asarray(axis), coordinate, canonical == LON)
                if lacking is None and dim not in [name for name, _ in found]:
                    found.append((dim, places))
                    break
            else:
                raise GridError(
                    f"'{self.place}' lacks cells of the grid along {canonical}. Score it with the data that "
                    "it was made from."
                )
        (row_dim, rows), (column_dim, columns) = found
        return row_dim, column_dim, rows, columns
