"""Share of missing values per step and window, and the windows that are complete enough to be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stconv.datasets.series.cache import forget_pages
from stconv.datasets.series.extent import frame_blocks
from stconv.datasets.series.windows import WindowSpec

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

FRAMES_HELD = 256


def missing_per_step(series: Series, never_valid: np.ndarray) -> np.ndarray:
    """Missing fraction of each frame, without cells that never hold a value.

    Args:
        series: The series.
        never_valid: bool, (channel, lat, lon).

    Returns:
        float64, (time, 2): fraction over all channels (for inputs), and over the targets.
    """
    counts = ~never_valid
    n_all, n_targets = int(counts.sum()), int(counts[: series.n_targets].sum())
    shares = np.empty((len(series), 2))
    for i, frame in enumerate(series.values):
        missing = ~np.isfinite(frame) & counts
        targets = int(missing[: series.n_targets].sum())
        if i % FRAMES_HELD == 0:
            forget_pages(series.values)
        shares[i] = int(missing.sum()) / max(n_all, 1), targets / max(n_targets, 1)
    return shares


def complete_enough(
    references: Sequence[int], spec: WindowSpec, shares: np.ndarray, limit: float
) -> list[int]:
    """Return the references of windows whose inputs and targets each miss at most a share of their values.

    Args:
        references: Reference indices.
        spec: Shape of a window.
        shares: Missing fractions from `missing_per_step`.
        limit: Largest fraction, 0 to 1.
    """
    past = np.array(spec.input_offsets)
    coming = np.arange(1, spec.leads + 1)
    return [
        i for i in references if shares[i + past, 0].mean() <= limit and shares[i + coming, 1].mean() <= limit
    ]


def known_counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the values of each cell, and the frames of each variable that hold any value.

    Args:
        values: float32, (time, variable, lat, lon), NaN missing.

    Returns:
        int64, (variable, lat, lon) and (variable,).
    """
    n_known, n_frames = np.zeros(values.shape[1:], np.int64), np.zeros(values.shape[1], np.int64)
    for block in frame_blocks(values):
        known = np.isfinite(block)
        n_known += known.sum(axis=0)
        n_frames += known.any(axis=(2, 3)).sum(axis=0)
    return n_known, n_frames


def most_missing(values: np.ndarray, expected: np.ndarray, offsets: Sequence[int]) -> float:
    """Largest missing fraction of a variable in the inputs of any window.

    Args:
        values: float32, (time, variable, lat, lon), NaN missing.
        expected: Cells that should hold a value, bool, (variable, lat, lon).
        offsets: Steps of the input frames relative to the reference time, the last one 0.

    Returns:
        The fraction, rounded up to 4 decimals; 0 if no window fits.
    """
    n_windows = len(values) + min(offsets)
    if n_windows <= 0:
        return 0.0
    missing = ((~np.isfinite(block) & expected).sum(axis=(2, 3)) for block in frame_blocks(values))
    shares = np.concatenate([*missing]) / np.maximum(expected.sum(axis=(1, 2)), 1)
    of_windows = np.mean([shares[offset - min(offsets) :][:n_windows] for offset in offsets], axis=0)
    return float(np.ceil(1e4 * of_windows.max()) / 1e4)
