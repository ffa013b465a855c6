"""Creation and verification of stored forecasts, one at a time."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Container
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from service.archive.soundness import BrokenStore, aside, set_aside, sound_metadata
from service.archive.stores import SUFFIX, iso_time, prune, reference_name, stored, version_folder
from service.model.future import later_than_now
from service.model.live_bands import LiveBands, adapted
from service.model.live_verification import LiveVerification
from service.model.source import Source, say
from service.wire.model_messages import ArchiveState, Fault, UpdateArchive
from stconv.dims import TIME
from stconv.durable import beside, put_in_place
from stconv.errors import StconvError
from stconv.forecast import Forecaster
from stconv.forecast.output import lead_of, valid_time_of
from stconv.forecast.window import Frames

EPOCH = "seconds since 1970-01-01"
_KEPT_KINDS = "fiubM"


class Archivist:
    """Stores a forecast for each new reference time of a source and verifies stored ones.

    Args:
        forecaster: Forecaster of the model.
        source: The server's own data.
    """

    def __init__(self, forecaster: Forecaster, source: Source) -> None:
        self._forecaster = forecaster
        self._source = source
        self._refused: dict[str, Any] = {}  # by name, the state of the source that was refused
        self._sound: set[Path] = set()
        self._faults: tuple[Fault, ...] = ()
        self._newest: str | None = None
        self._seen: Any = None
        self._round: Any = None
        self._done: Any = None
        self._live: LiveVerification | None = None

    def step(self, request: UpdateArchive) -> ArchiveState:
        """Make or verify the next forecast if the source changed and is no longer being written.

        Raises:
            ServiceError: The source cannot be read.
            OSError: The forecast cannot be written.
        """
        folder = version_folder(Path(request.folder), request.model, self._forecaster.bundle_hash)
        state = self._source.state()
        if state == self._done:
            return self._answer(False, folder)
        if self._seen is not None and state != self._seen:  # another program may still be writing
            self._seen = state
            return self._answer(False, folder)
        self._seen = state
        series = self._source.open()
        newest = reference_name(series[0][TIME].values[-1])
        self._newest = iso_time(newest)
        self._check_stores(folder, newest)
        if self._live is None:
            self._live = LiveVerification(self._forecaster, self._source, folder)
        refused = [name for name, seen in self._refused.items() if seen == state]
        reference = self._next_reference(series[0], list(stored(folder)), refused, request)
        if reference is not None:
            self._store(folder, series, reference, state)
            prune(folder, request.keep, request.keep_days)
            return self._answer(True, folder)
        stores = stored(folder)
        self._faults = (
            *self._source.passed_over,
            *(Fault("input", f"The input from {iso_time(name)} is refused.") for name in refused),
            *(Fault("store", f"The store of {name} was damaged and set aside.") for name in aside(folder)),
        )
        if self._round != state:
            self._round = state
            self._live.begin(list(stores), request.cases, series[0])
        more = self._live.update(series, stores, request.cases)
        if not more:
            self._done = state
        return self._answer(more, folder, self._live.summary())

    def adapted(self, fields: np.ndarray) -> np.ndarray:
        """Give a forecast of the server's own data, from `Forecaster.fields`, bands that have learned.

        Those of an upload stay the bundle's, the same on every server and in every other door.
        """
        bands, learned = self._forecaster.bundle.bands, self._learned
        return fields if bands is None or learned is None else adapted(fields, bands, learned.widening)

    @property
    def _learned(self) -> LiveBands | None:
        return None if self._live is None else self._live.bands

    def _answer(self, more: bool, folder: Path, verification: dict[str, Any] | None = None) -> ArchiveState:
        return ArchiveState(more, str(folder), verification, self._faults, self._newest)

    def _check_stores(self, folder: Path, newest: str) -> None:
        """Set aside what is damaged, and what lies in the future while the source does not."""
        for name, path in stored(folder).items():
            if path in self._sound:
                continue
            try:
                if name > newest and iso_time(name) > later_than_now():
                    raise BrokenStore("its reference time lies in the future")
                sound_metadata(path)
                self._sound.add(path)
            except BrokenStore as error:
                say(f"the stored forecast from {iso_time(name)} is set aside: {error}")
                set_aside(path)

    def _next_reference(
        self, ds: xr.Dataset, names: list[str], refused: Container[str], request: UpdateArchive
    ) -> Any:
        """Find the oldest reference time to forecast: after the first stored one, or among the newest few."""
        offsets = self._forecaster.offsets
        frames = Frames(ds[TIME].values, self._forecaster.step)
        due, most = None, min(request.keep, request.keep if names else request.backfill)
        complete = 0
        for reference in frames.times[::-1]:
            name = reference_name(reference)
            if complete == most or (names and name <= names[0]):
                break
            if name in refused or frames.lacking(reference, offsets):
                continue
            if name in names:
                complete += 1
            else:
                complete, due = complete + 1, reference
        return due

    def _store(self, folder: Path, series: tuple[xr.Dataset, Any], reference: Any, state: Any) -> None:
        name = reference_name(reference)
        ds, origin = series
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # unusual input is described in the attributes of the forecast
                checked = self._forecaster.check(ds, reference_time=reference, origin=origin)
                fields = self.adapted(self._forecaster.fields(checked))
                forecast = self._forecaster.describe(fields, checked)
        except (StconvError, OSError) as error:
            say(f"cannot store a forecast from {name}: {error}")
            self._refused = {other: seen for other, seen in self._refused.items() if seen == state}
            self._refused[name] = state
            return
        known = forecast[valid_time_of(forecast)].values[0] <= ds[TIME].values[-1]
        forecast = forecast.assign_attrs(
            made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), made_when_truth_was_known=int(known)
        )
        write_store(forecast, folder / f"{name}{SUFFIX}")
        if self._learned is not None:
            self._learned.issue(name)


def write_store(forecast: xr.Dataset, path: Path) -> None:
    """Write a forecast atomically as a Zarr 3 store, with a chunk for each lead and times in seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = beside(path)
    clean = forecast.drop_encoding()
    text = [n for n, c in clean.coords.items() if not (c.dtype.kind in _KEPT_KINDS or _is_time(c))]
    clean, lead = clean.drop_vars(text), lead_of(clean)
    encoding: dict[str, dict[str, Any]] = {}
    for key, variable in clean.variables.items():
        settings: dict[str, Any] = {
            "chunks": tuple(
                1 if dim == lead and key in clean.data_vars else size for dim, size in variable.sizes.items()
            )
        }
        if variable.dtype.kind == "M" or _is_time(variable):
            settings |= {"units": EPOCH, "dtype": "int64"}
        elif variable.dtype.kind == "f":
            settings["_FillValue"] = np.float32(np.nan) if key in clean.data_vars else None
        encoding[str(key)] = settings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # consolidated metadata are not yet part of the Zarr 3 specification
            clean.to_zarr(
                scratch, zarr_format=3, consolidated=True, encoding=encoding, write_empty_chunks=True
            )
        put_in_place(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_time(variable: Any) -> bool:
    return bool(variable.dtype.kind == "O" and variable.size and hasattr(variable.values.flat[0], "calendar"))
