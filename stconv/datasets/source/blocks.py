"""Reading a series block by block along the time, each frame once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

BLOCK_BYTES = 64 * 2**20
"""About what is in memory at once, as float32."""


def block_edges(array: xr.DataArray, n: int) -> list[int]:
    """Cut the steps into blocks of about n, where dask has chunks only between two of them.

    Args:
        array: Canonical variable, time first.
        n: Steps of a block.

    Returns:
        Where blocks begin, and the number of steps at the end.
    """
    n_time = array.shape[0]
    if array.chunks is None:
        return [*range(0, n_time, n), n_time]
    edges = [0]
    ends = np.cumsum(array.chunks[0]).tolist()
    for here, coming in pairwise([*ends, n_time + n + 1]):
        if coming - edges[-1] > n:
            edges.append(here)
    return edges


def blocks(array: xr.DataArray, n_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """The values of a variable, some steps at a time.

    Args:
        array: Canonical variable, time first.
        n_bytes: About the size of a block as float32; one on disk is not smaller than a chunk.
    """
    frame_bytes = 4 * max(array.size // max(array.shape[0], 1), 1)
    for start, stop in pairwise(block_edges(array, max(n_bytes // frame_bytes, 1))):
        yield array[start:stop].values


class Thinned:
    """Every second, third, ... row and column of a variable, taken from its blocks as they pass by.

    Args:
        array: Canonical variable, (time, row, column).
        every: Distances between the rows, and the columns, that are kept; several at once.
    """

    def __init__(self, array: xr.DataArray, every: Sequence[int]) -> None:
        self._array, self._every = array, every
        self._kept: list[list[np.ndarray]] = [[] for _ in every]

    def take(self, block: np.ndarray) -> None:
        """Keep some of the next block."""
        if self._array.chunks is None:
            return
        for n, parts in zip(self._every, self._kept, strict=True):
            parts.append(block[:, ::n, ::n].copy())

    def arrays(self) -> list[xr.DataArray]:
        """One for each distance, in memory, once all blocks were taken."""
        views = [self._array[:, ::n, ::n] for n in self._every]
        if self._array.chunks is None:
            return views
        return [view.copy(data=np.concatenate(parts)) for view, parts in zip(views, self._kept, strict=True)]
