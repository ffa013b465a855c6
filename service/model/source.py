"""The server's own data, reread after a change."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from service.model.future import without_future
from service.wire.model_messages import Fault
from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.kinds import place_state, store_kind
from stconv.datasets.source.directions import directions_added, with_directions
from stconv.datasets.source.finding import find_files
from stconv.datasets.source.grid import Origin, open_parts, open_series, restore
from stconv.dims import TIME
from stconv.errors import DataError, ServiceError, VariableError
from stconv.forecast import Forecaster
from stconv.forecast.output import forecast_dataset, without_older_forecast
from stconv.forecast.window import Frames

MEANT = "The server's own data"
MOST_PASSED_OVER = 3
"""Files that fit by themselves, and are left out because they do not fit the others."""
_said: deque[str] = deque(maxlen=8)
_ZARR_METADATA = ("zarr.json", ".zmetadata", ".zgroup", "*/zarr.json", "*/.zarray")
"""Names of the metadata files of a Zarr store that change when it grows."""


def say(text: str) -> None:
    """Tell the operator, in the log."""
    print(f"stconv: {text}", file=sys.stderr, flush=True)


@contextmanager
def own_data(meant: str) -> Iterator[None]:
    """A fault of the server's own data is no fault of the client, who learns no path.

    Args:
        meant: The data, as a sentence begins with them.

    Raises:
        ServiceError: In place of what the data raise.
    """
    try:
        yield
    except (DataError, OSError, ValueError, KeyError) as error:
        if str(error) not in _said:  # once, not for every client
            say(f"{meant} cannot be used: {error}")
        _said.append(str(error))
        raise ServiceError(f"{meant} cannot be used now; the server's log says why.") from error


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
        self._unusable: dict[Place, Any] = {}
        self.passed_over: tuple[Fault, ...] = ()

    def state(self) -> Any:
        """State of the files; it is equal until a file is changed, added or removed.

        Raises:
            ServiceError: There is no file.
        """
        with own_data(MEANT):
            further = [path for source in self._forecaster.source.sources for path in source.files]
            return tuple(part for path in find_files([*self._paths, *further]) for part in _state(path))

    def open(self) -> tuple[xr.Dataset, Origin]:
        """Read the canonical series of inputs and available targets; a small series stays in memory.

        Files that cannot be used are passed over as long as others can, and so are times in the future.

        Raises:
            ServiceError: The data cannot be read.
        """
        state = self.state()
        if self._kept is None or self._kept[0] != state:
            with own_data(MEANT):
                found = self._open()
            if any(array.chunks for array in found[0].data_vars.values()):
                return found
            self._kept = state, found
        return self._kept[1]

    def _open(self) -> tuple[xr.Dataset, Origin]:
        ds, origin = self._usable()
        ds, later = without_future(ds, self._forecaster.step)
        faults = [Fault("file", f"The file '{path.name}' is passed over.") for path in self._unusable]
        if later:
            more = f" and {len(later) - 1} more" if len(later) > 1 else ""
            faults.append(Fault("future", f"The frame of {later[0]}{more} lies in the future: passed over."))
        self.passed_over = tuple(faults)
        return ds, origin

    def _usable(self) -> tuple[xr.Dataset, Origin]:
        files = find_files(self._paths)
        self._unusable = {p: seen for p, seen in self._unusable.items() if p in files and seen == _state(p)}
        good = [path for path in files if path not in self._unusable]
        try:
            return self._read(good or files)
        except DataError:
            alone = {path: self._why_not(path) for path in good}
            if not any(why is None for why in alone.values()):
                raise
            suspects = [path for path, why in alone.items() if why is not None]
            # Files that fit by themselves and not together: the one that came last does not fit.
            suspects += sorted(set(good) - set(suspects), key=lambda path: _state(path)[0][1:2], reverse=True)
            for n in range(max(1, sum(why is not None for why in alone.values())), len(good)):
                with suppress(DataError):
                    found = self._read([path for path in good if path not in suspects[:n]])
                    for path in suspects[:n]:
                        say(f"'{path}' is passed over: {alone[path] or 'it does not fit the other files'}")
                        self._unusable[path] = _state(path)
                    return found
                if n >= MOST_PASSED_OVER + sum(why is not None for why in alone.values()):
                    break
            raise

    def _why_not(self, path: Place) -> DataError | None:
        try:
            open_parts([path], self._forecaster.source)
        except DataError as error:
            return error
        return None

    def _read(self, files: list[Place]) -> tuple[xr.Dataset, Origin]:
        forecaster = self._forecaster
        names = [*forecaster.names]
        wanted = dict.fromkeys([*names, *(target.name for target in forecaster.targets)])
        try:
            return open_series(files, forecaster.source, list(wanted))
        except VariableError:  # without targets the forecasts cannot be verified
            return open_series(files, forecaster.source, names)

    def truth(self, ds: xr.Dataset, times: Sequence[Any]) -> dict[str, np.ndarray]:
        """Read the observed fields of the targets, (time, lat, lon), with NaN for missing values.

        They are float32, or float64 for variables that float32 cannot resolve.
        """
        frames = Frames(ds[TIME].values, self._forecaster.step)
        here = [i for i, time in enumerate(times) if time in frames]
        chosen = ds.isel({TIME: frames.positions([times[i] for i in here])})
        found = {}
        for target in self._forecaster.targets:
            if (name := target.name) in ds:
                found[name] = np.full((len(times), *ds[name].shape[1:]), np.nan, ds[name].dtype)
                found[name][here] = chosen[name].values
        return found

    def as_forecast(
        self,
        fields: Mapping[str, np.ndarray],
        series: tuple[xr.Dataset, Origin],
        reference: Any,
        times: Sequence[Any],
    ) -> xr.Dataset:
        """Convert fields (lead, lat, lon) to the form of a forecast from this source, with directions."""
        (ds, origin), forecaster = series, self._forecaster
        attributes = {name: {str(k): v for k, v in ds[name].attrs.items()} for name in fields}
        canonical = forecast_dataset(
            *directions_added(fields, attributes, forecaster.directions),
            ds,
            list(forecaster.contract.grid.dims),
            reference,
            times,
            forecaster.step,
            taken=origin.axes,
        )
        restored = restore(canonical, with_directions(origin, forecaster.directions))
        return without_older_forecast(restored, canonical)


def _state(path: Place) -> list[tuple[Any, ...]]:
    if isinstance(path, Address):
        return place_state(path)
    parts = [p for name in _ZARR_METADATA for p in path.glob(name)] if store_kind(path) else [path]
    return [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in parts]
