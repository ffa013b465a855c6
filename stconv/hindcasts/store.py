"""The Zarr store of a hindcast: its chunks and its journal, on the disk or in an object store."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
import zarr

from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.store import open_store, writable_store
from stconv.durable import sync
from stconv.errors import FileError
from stconv.hindcasts.journal import ATTRIBUTE, MADE, MISSING, OPEN, STATUS, read_origin

PARTIAL = ".partial"
"""Ends the name of a file that Zarr has not renamed yet."""


class Store:
    """A hindcast that is written in whole chunks along the reference times.

    Args:
        place: Folder or address of the store.

    Raises:
        FileError: There is no store.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        with _told(place):
            target = writable_store(place) if isinstance(place, Address) else place
            self._group = zarr.open_group(target, mode="r+", use_consolidated=True)

    @property
    def origin(self) -> dict[str, object]:
        """What the forecasts are made from.

        Raises:
            ConfigError: The store is not a hindcast.
        """
        return read_origin(self._group.attrs.get(ATTRIBUTE), str(self.place))

    @property
    def per_chunk(self) -> int:
        """Number of reference times in a chunk."""
        return int(self._array(STATUS).chunks[0])

    def status(self) -> np.ndarray:
        """Return the status of every reference time, int8."""
        return np.asarray(self._array(STATUS)[:])

    def open_chunks(self) -> list[int]:
        """Return the numbers of the chunks that are not complete."""
        return np.unique(np.flatnonzero(self.status() == OPEN) // self.per_chunk).tolist()

    def write(self, number: int, fields: Mapping[str, np.ndarray], made: np.ndarray) -> None:
        """Write a chunk of every variable, and then mark it.

        Args:
            number: Number of the chunk.
            fields: Values by variable, the reference times first.
            made: Whether the forecast of each reference time was made.

        Raises:
            FileError: The disk is full, or the object store refuses to write.
        """
        start = number * self.per_chunk
        rows = slice(start, start + len(made))
        with full_disk(self.place):
            for name, values in fields.items():
                self._put(name, rows, values)
                self._settle(name, f"{number}.*")
            self._put(STATUS, rows, np.where(made, MADE, MISSING).astype(np.int8))
            self._settle(STATUS, f"{number}")

    def _put(self, name: str, rows: slice, values: np.ndarray) -> None:
        self._array(name)[rows.start : rows.start + len(values)] = values

    def _settle(self, name: str, pattern: str) -> None:
        """Wait until files of a variable are on the disk; an object store has what it has answered for."""
        if isinstance(self.place, Address):
            return
        folder = self.place / name
        for file in folder.glob(pattern):
            if file.suffix != PARTIAL:
                sync(file)
        sync(folder)

    def sweep(self) -> None:
        """Remove the files that a killed worker has not renamed."""
        if isinstance(self.place, Address):
            return
        for file in self.place.glob(f"*/*{PARTIAL}"):
            file.unlink(missing_ok=True)

    def _array(self, name: str) -> zarr.Array[Any]:
        found = self._group[name]
        assert isinstance(found, zarr.Array)
        return found


@contextmanager
def full_disk(place: Place) -> Iterator[None]:
    """Turn the error of a full disk into one that says what to do.

    Raises:
        FileError: The disk is full, or the file system refuses to write.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
        if isinstance(place, Address) or not full:
            raise
        free = shutil.disk_usage(place if place.exists() else place.parent).free
        raise FileError(
            f"'{place}' cannot be written ({error.strerror}; {free / 1e9:.3g} GB are free). What is complete "
            "stays. Free some space, and run the same command again: it goes on from there."
        ) from error


def open_hindcast(place: Place) -> xr.Dataset:
    """Open a hindcast lazily, a chunk of the store as a chunk of dask.

    Raises:
        FileError: There is no store.
    """
    with _told(place):
        return xr.open_zarr(
            open_store(place, "zarr", lambda key: None), consolidated=True, decode_timedelta=False
        )


@contextmanager
def _told(place: Place) -> Iterator[None]:
    """Turn the errors of a store that cannot be opened into one that names it.

    Raises:
        FileError: There is no store.
    """
    try:
        yield
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise FileError(
            f"'{place}' is not a Zarr store of `stconv hindcast` that can be opened ({error})."
        ) from error
