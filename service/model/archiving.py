"""Creation and verification of stored forecasts, one at a time."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from service.archive.stores import SUFFIX, prune, reference_name, stored, version_folder
from service.model.live_verification import LiveVerification
from service.model.source import Source
from service.wire.model_messages import ArchiveState, UpdateArchive
from stconv.dims import LEAD, TIME
from stconv.errors import StconvError
from stconv.forecast import Forecaster
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
        self._refused: set[str] = set()
        self._seen: Any = None
        self._round: Any = None
        self._done: Any = None
        self._live: LiveVerification | None = None

    def step(self, request: UpdateArchive) -> ArchiveState:
        """Make or verify the next forecast if the source changed and is no longer being written.

        Raises:
            DataError: The source cannot be read.
            OSError: The forecast cannot be written.
        """
        folder = version_folder(Path(request.folder), request.model, self._forecaster.bundle_hash)
        state = self._source.state()
        if state == self._done:
            return ArchiveState(False, str(folder))
        if self._seen is not None and state != self._seen:  # another program may still be writing
            self._seen = state
            return ArchiveState(False, str(folder))
        self._seen = state
        series = self._source.open()
        reference = self._next_reference(series[0], list(stored(folder)), request)
        if reference is not None:
            self._store(folder, series, reference)
            prune(folder, request.keep, request.keep_days)
            return ArchiveState(True, str(folder))
        stores = stored(folder)
        self._live = self._live or LiveVerification(self._forecaster, self._source, folder)
        if self._round != state:
            self._round = state
            self._live.begin(list(stores), request.cases)
        more = self._live.update(series, stores, request.cases)
        if not more:
            self._done = state
        return ArchiveState(more, str(folder), self._live.summary())

    def _next_reference(self, ds: xr.Dataset, names: list[str], request: UpdateArchive) -> Any:
        """Find the oldest reference time to forecast: newer than those stored, or among the newest few."""
        offsets = self._forecaster.offsets
        frames = Frames(ds[TIME].values, self._forecaster.step)
        due, most = None, min(request.keep, request.keep if names else request.backfill)
        complete = 0
        for reference in frames.times[::-1]:
            name = reference_name(reference)
            if complete == most or (names and name <= names[-1]):
                break
            if name not in self._refused and not frames.lacking(reference, offsets):
                complete, due = complete + 1, reference
        return due

    def _store(self, folder: Path, series: tuple[xr.Dataset, Any], reference: Any) -> None:
        name = reference_name(reference)
        ds, origin = series
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # unusual input is described in the attributes of the forecast
                forecast = self._forecaster.forecast(ds, reference_time=reference, origin=origin)
        except StconvError as error:
            print(f"stconv: cannot store a forecast from {name}: {error}", file=sys.stderr, flush=True)
            self._refused.add(name)
            return
        known = forecast[TIME].values[0] <= ds[TIME].values[-1]
        forecast = forecast.assign_attrs(
            made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), made_when_truth_was_known=int(known)
        )
        write_store(forecast, folder / f"{name}{SUFFIX}")


def write_store(forecast: xr.Dataset, path: Path) -> None:
    """Write a forecast atomically as a Zarr 3 store, with a chunk for each lead and times in seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    clean = forecast.drop_encoding()
    text = [n for n, c in clean.coords.items() if not (c.dtype.kind in _KEPT_KINDS or _is_time(c))]
    clean = clean.drop_vars(text)
    encoding: dict[str, dict[str, Any]] = {}
    for key, variable in clean.variables.items():
        settings: dict[str, Any] = {
            "chunks": tuple(
                1 if dim == LEAD and key in clean.data_vars else size for dim, size in variable.sizes.items()
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
        os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_time(variable: Any) -> bool:
    return bool(variable.dtype.kind == "O" and variable.size and hasattr(variable.values.flat[0], "calendar"))
