"""The server's own data, reread after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.grid import Origin, open_series, restore
from stconv.datasets.source.reading import find_files
from stconv.datasets.source.zarr_store import is_zarr
from stconv.dims import TIME
from stconv.errors import VariableError
from stconv.forecast import Forecaster
from stconv.forecast.output import forecast_dataset, without_older_forecast
from stconv.forecast.window import Frames

_ZARR_METADATA = ("zarr.json", ".zmetadata", ".zgroup", "*/zarr.json", "*/.zarray")
"""Names of the metadata files of a Zarr store that change when it grows."""


class Source:
    """The data from which forecasts start and with which they are verified.

    Args:
        paths: Files, folders or patterns, as the operator gave them.
        forecaster: Forecaster, which defines the reading options and variables.
    """

    def __init__(self, paths: Sequence[Path], forecaster: Forecaster) -> None:
        self._paths = list(paths)
        self._forecaster = forecaster
        self._kept: tuple[Any, tuple[xr.Dataset, Origin]] | None = None

    def state(self) -> Any:
        """State of the files; it is equal until a file is changed, added or removed.

        Raises:
            FileError: A file no longer exists.
        """
        files: list[tuple[str, int, int]] = []
        for path in find_files(self._paths):
            parts = [p for name in _ZARR_METADATA for p in path.glob(name)] if is_zarr(path) else [path]
            files.extend((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in parts)
        return tuple(files)

    def open(self) -> tuple[xr.Dataset, Origin]:
        """Read the canonical series of inputs and available targets; a small series stays in memory.

        Raises:
            DataError: The data cannot be read.
        """
        state = self.state()
        if self._kept is None or self._kept[0] != state:
            found = self._open()
            if any(array.chunks for array in found[0].data_vars.values()):
                return found
            self._kept = state, found
        return self._kept[1]

    def _open(self) -> tuple[xr.Dataset, Origin]:
        forecaster = self._forecaster
        names = [*forecaster.names]
        wanted = dict.fromkeys([*names, *(target.name for target in forecaster.targets)])
        try:
            return open_series(self._paths, forecaster.source, list(wanted))
        except VariableError:  # without targets the forecasts cannot be verified
            return open_series(self._paths, forecaster.source, names)

    def truth(self, ds: xr.Dataset, times: Sequence[Any]) -> dict[str, np.ndarray]:
        """Read the observed fields of the targets, float32, (time, lat, lon), with NaN for missing values."""
        frames = Frames(ds[TIME].values, self._forecaster.step)
        here = [i for i, time in enumerate(times) if time in frames]
        chosen = ds.isel({TIME: frames.positions([times[i] for i in here])})
        found = {}
        for target in self._forecaster.targets:
            if (name := target.name) in ds:
                found[name] = np.full((len(times), *ds[name].shape[1:]), np.nan, np.float32)
                found[name][here] = chosen[name].values
        return found

    def as_forecast(
        self,
        fields: Mapping[str, np.ndarray],
        series: tuple[xr.Dataset, Origin],
        reference: Any,
        times: Sequence[Any],
    ) -> xr.Dataset:
        """Convert fields (lead, lat, lon) to the form of a forecast from this source."""
        (ds, origin), forecaster = series, self._forecaster
        attributes = {name: {str(k): v for k, v in ds[name].attrs.items()} for name in fields}
        dims = list(forecaster.contract.grid.dims)
        canonical = forecast_dataset(fields, attributes, ds, dims, reference, times, forecaster.step)
        return without_older_forecast(restore(canonical, origin), canonical)
