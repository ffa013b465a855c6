"""The Zarr store of a hindcast: its chunks and its journal on the disk."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from stconv.durable import sync
from stconv.errors import FileError
from stconv.hindcasts.journal import ATTRIBUTE, MADE, MISSING, OPEN, STATUS, read_origin

PARTIAL = ".partial"
"""Ends the name of a file that Zarr has not renamed yet."""


class Store:
    """A hindcast on the disk, written in whole chunks along the reference times.

    Args:
        path: Folder of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._group = zarr.open_group(path, mode="r+", use_consolidated=True)

    @property
    def origin(self) -> dict[str, object]:
        """What the forecasts are made from.

        Raises:
            ConfigError: The store is not a hindcast.
        """
        return read_origin(self._group.attrs.get(ATTRIBUTE), str(self.path))

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
            FileError: The disk is full.
        """
        start = number * self.per_chunk
        rows = slice(start, start + len(made))
        with full_disk(self.path):
            for name, values in fields.items():
                self._put(name, rows, values)
                for file in Path(self.path, name).glob(f"{number}.*"):
                    if file.suffix != PARTIAL:
                        sync(file)
                sync(Path(self.path, name))
            self._put(STATUS, rows, np.where(made, MADE, MISSING).astype(np.int8))
            sync(Path(self.path, STATUS))

    def _put(self, name: str, rows: slice, values: np.ndarray) -> None:
        self._array(name)[rows.start : rows.start + len(values)] = values

    def sweep(self) -> None:
        """Remove the files that a killed worker has not renamed."""
        for file in self.path.glob(f"*/*{PARTIAL}"):
            file.unlink(missing_ok=True)

    def _array(self, name: str) -> zarr.Array[Any]:
        found = self._group[name]
        assert isinstance(found, zarr.Array)
        return found


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into one that says what to do.

    Raises:
        FileError: The disk is full, or the file system refuses to write.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        free = shutil.disk_usage(path if path.exists() else path.parent).free
        raise FileError(
            f"'{path}' cannot be written ({error.strerror}; {free / 1e9:.3g} GB are free). What is complete "
            "stays. Free some space, and run the same command again: it goes on from there."
        ) from error


def open_hindcast(path: Path) -> xr.Dataset:
    """Open a hindcast lazily, a chunk of the store as a chunk of dask."""
    return xr.open_zarr(path, consolidated=True, decode_timedelta=False)
