"""Facts about a period of a series, block by block, so that it may be on disk or in its source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stconv.datasets.series.cache import forget_pages

BYTES_AT_ONCE = 64 * 2**20


def frame_blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Iterate over blocks of steps, of bounded size.

    Args:
        values: float32, (time, ...).
    """
    n = max(1, BYTES_AT_ONCE // max(1, 4 * int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), n):
        yield np.asarray(values[start : start + n])
        forget_pages(values)


def lowest_and_highest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each channel, without NaN; NaN for a channel without a value.

    Args:
        values: float32, (time, channel, lat, lon).
    """
    low = np.full(values.shape[1], np.nan, np.float32)
    high = low.copy()
    for block in frame_blocks(values):
        flat = block.swapaxes(0, 1).reshape(len(low), -1)
        low = np.fmin(low, np.fmin.reduce(flat, axis=1))
        high = np.fmax(high, np.fmax.reduce(flat, axis=1))
    return low, high
