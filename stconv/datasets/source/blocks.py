"""Reading of a series in blocks of steps, each frame once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr

from stconv.spacing import evenly_spaced

BLOCK_BYTES = 64 * 2**20
"""Approximate bytes in memory at once, as float32."""


def block_edges(array: xr.DataArray, n: int) -> list[int]:
    """Cut the steps into blocks of about n steps, at the edges of dask chunks.

    Args:
        array: Canonical variable, time first.
        n: Approximate number of steps in a block.

    Returns:
        First step of each block, and at the end the number of steps.
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
    """Iterate over the values of a variable in blocks of steps.

    Args:
        array: Canonical variable, time first.
        n_bytes: Approximate size of a block as float32; blocks of a variable on disk are at least a chunk.
    """
    frame_bytes = 4 * max(array.size // max(array.shape[0], 1), 1)
    for start, stop in pairwise(block_edges(array, max(n_bytes // frame_bytes, 1))):
        yield array[start:stop].values


def sampled(array: xr.DataArray, most_bytes: int) -> xr.DataArray:
    """Return evenly spaced dask chunks of steps, first and last among them; a small variable as it is.

    Args:
        array: Canonical variable, time first.
        most_bytes: Number of bytes as float32 above which steps are left out, and about as many are kept;
            two chunks at least. A variable in memory is never sampled.
    """
    if array.chunks is None or 4 * array.size <= most_bytes:
        return array
    edges = [0, *np.cumsum(array.chunks[0]).tolist()]
    n_chunks = len(edges) - 1
    kept = max(int(most_bytes / (4 * array.size) * n_chunks), 2)
    chosen = evenly_spaced(range(n_chunks), kept)
    return array[np.concatenate([np.arange(edges[i], edges[i + 1]) for i in chosen])]


class Thinned:
    """Every second, third, ... row and column of a variable, collected while its blocks are read.

    Args:
        array: Canonical variable, (time, row, column).
        every: Distances between the kept rows and columns, one for each copy.
    """

    def __init__(self, array: xr.DataArray, every: Sequence[int]) -> None:
        self._array, self._every = array, every
        self._kept: list[list[np.ndarray]] = [[] for _ in every]

    def take(self, block: np.ndarray) -> None:
        """Collect the kept rows and columns of the next block."""
        if self._array.chunks is None:
            return
        for n, parts in zip(self._every, self._kept, strict=True):
            parts.append(block[:, ::n, ::n].copy())

    def arrays(self) -> list[xr.DataArray]:
        """The thinned copies in memory, one for each distance, after the last block."""
        views = [self._array[:, ::n, ::n] for n in self._every]
        if self._array.chunks is None:
            return views
        return [view.copy(data=np.concatenate(parts)) for view, parts in zip(views, self._kept, strict=True)]
