"""The values of a series that stays where it is: an array that is read block by block."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.series.read_ahead import Read, ReadAhead

MOST_BYTES = 4 * 2**30
"""Most memory for blocks that are read ahead."""
Channels = slice | int


class StreamedValues:
    """A view of stored values, indexed like an array; slices of the time read nothing.

    ``values[a:b]`` and ``values[a:b, channels]`` are further views; ``np.asarray`` reads a view, and so does
    every other index. A loop over it yields the frames one by one.

    Args:
        blocks: Reads the blocks.
        shape: (time, channel, lat, lon) of the whole series.
        steps: The steps of this view; default: all.
        channels: Channels of this view; an integer leaves the dimension out.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        blocks: ReadAhead,
        shape: tuple[int, ...],
        steps: range | None = None,
        channels: Channels = slice(None),
    ) -> None:
        self.blocks, self.whole, self.channels = blocks, shape, channels
        self.steps = range(shape[0]) if steps is None else steps

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each dimension."""
        if isinstance(self.channels, int):
            return len(self.steps), *self.whole[2:]
        return len(self.steps), len(range(*self.channels.indices(self.whole[1]))), *self.whole[2:]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values, if all were in memory."""
        return 4 * self.size

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, key: Any) -> Any:
        first, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(first, slice):
            steps, whole = (
                self.steps[first],
                isinstance(self.channels, slice) and self.channels == slice(None),
            )
            if not others:
                return StreamedValues(self.blocks, self.whole, steps, self.channels)
            if whole and len(others) == 1 and isinstance(others[0], (slice, int)):
                return StreamedValues(self.blocks, self.whole, steps, others[0])
            return np.asarray(self[first])[(slice(None), *others)]
        if isinstance(first, (int, np.integer)):
            frame = np.asarray(self[int(first) : int(first) + 1 or None])[0]
            return frame[tuple(others)] if others else frame
        frames = np.stack([self[int(step)] for step in np.asarray(first)])
        return frames[(slice(None), *others)] if others else frames

    def __iter__(self) -> Iterator[np.ndarray]:
        for step in range(len(self.steps)):
            yield self[step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        steps = self.steps
        if not len(steps):
            return np.empty(self.shape, dtype or self.dtype)
        low, high = min(steps[0], steps[-1]), max(steps[0], steps[-1]) + 1
        found = self.blocks.frames(low, high)[:: abs(steps.step), self.channels]
        return np.asarray(found if steps.step > 0 else found[::-1], dtype=dtype)

    def astype(self, dtype: Any) -> np.ndarray:
        """Read the view, as another type."""
        return np.asarray(self).astype(dtype)

    def apart(self) -> StreamedValues:
        """The same view, with blocks of its own: another plan does not disturb it."""
        return StreamedValues(self.blocks.apart(), self.whole, self.steps, self.channels)

    def window(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop of a window of the plan, see `ReadAhead.begin`."""
        return self.blocks.frames(self.steps[start], self.steps[stop - 1] + 1, used=True)[:, self.channels]


def stream(
    read: Read, edges: Sequence[int], shape: tuple[int, int, int, int], memory_bytes: int
) -> tuple[StreamedValues, str]:
    """Leave a series where it is, after one pass over it that checks every value.

    Args:
        read: Reads some steps from the source, and refuses unusable values; called by several threads.
        edges: First step of each block, and at the end the number of steps.
        shape: (time, channel, lat, lon).
        memory_bytes: Memory that blocks may take.

    Returns:
        The values, and the sha256 of their bytes, the same as that of a copy.
    """
    frame_bytes = 4 * math.prod(shape[1:])
    values = StreamedValues(ReadAhead(read, edges, min(memory_bytes, MOST_BYTES), frame_bytes), shape)
    digest = hashlib.sha256()
    for start, stop in pairwise(edges):
        digest.update(np.ascontiguousarray(values[start:stop]).data)
    return values, digest.hexdigest()


def common_edges(arrays: Sequence[xr.DataArray]) -> list[int]:
    """First step of each block that no variable's chunks cross, and at the end the number of steps."""
    ends = [set(np.cumsum(array.chunks[0]).tolist()) for array in arrays if array.chunks is not None]
    return [0, *sorted(set.intersection(*ends))]
