"""Crops of a large grid for training: drawn by area, read with the halo of the network, longitude closed.

A crop may start before the grid and end beyond it, and is cut off there: every cell then lies in equally many
crops. A crop is drawn with a probability in proportion to its area, so that the mean loss over crops, each
weighted by area inside, is the loss over the whole grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stconv.errors import ConfigError


@dataclass(frozen=True)
class Halo:
    """Surroundings that a network needs to forecast a crop as it forecasts the whole grid.

    Attributes:
        before: Cells towards the start of (lat, lon).
        after: Cells towards the end.
        period: Crops are read from multiples of it, so that halved grids fall on the same cells.
        closed: Whether the network closes the longitude.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    period: int = 1
    closed: bool = False


@dataclass(frozen=True)
class Stretch:
    """A part of an axis: the cells that are read, and those of them whose forecast counts.

    Attributes:
        read: Positions on the axis, int64.
        offset: Start of the kept cells among those read.
        n: Number of kept cells.
    """

    read: np.ndarray
    offset: int
    n: int

    @property
    def kept(self) -> np.ndarray:
        """Positions of the kept cells on the axis."""
        return self.read[self.offset : self.offset + self.n]


@dataclass(frozen=True)
class Crop:
    """A crop, by its rows and columns."""

    rows: Stretch
    columns: Stretch


class Crops:
    """All crops of a grid.

    Args:
        size: Rows and columns of a crop.
        weight: Area of each cell, (lat, lon).
        halo: Surroundings that are read.
        seed: Seed of the places.

    Raises:
        ConfigError: The closed longitude is no multiple of the period.
    """

    def __init__(self, size: Sequence[int], weight: np.ndarray, halo: Halo, seed: int = 0) -> None:
        n_lat, n_lon = weight.shape
        if halo.closed and n_lon % halo.period:
            raise ConfigError(
                f"The grid has {n_lon} columns, and a network that closes the longitude and halves it needs "
                f"a multiple of {halo.period} for crops. Cut the grid, or leave crop out."
            )
        self._halo, self._seed, self._shape = halo, seed, (n_lat, n_lon)
        self.size = min(size[0], n_lat), min(size[1], n_lon)
        area = weight.astype(np.float64).sum(axis=1)
        self.starts = np.arange(1 - self.size[0], n_lat)
        total = np.concatenate([[0.0], np.cumsum(area)])
        low, high = np.clip(self.starts, 0, None), np.clip(self.starts + self.size[0], None, n_lat)
        self.probability = (total[high] - total[low]) / (total[high] - total[low]).sum()

    def draw(self, items: Sequence[int]) -> Crop:
        """Draw the crop of a batch: the same for the same windows in the same order, another for others."""
        generator = np.random.default_rng([self._seed, *items])
        row = int(generator.choice(self.starts, p=self.probability))
        return self.at(row, self._column(generator))

    def _column(self, generator: np.random.Generator) -> int:
        n, width = self._shape[1], self.size[1]
        if self._halo.closed:
            return int(generator.integers(n))
        starts = np.arange(1 - width, n)
        covered = np.minimum(starts + width, n) - np.maximum(starts, 0)
        return int(generator.choice(starts, p=covered / covered.sum()))

    def at(self, row: int, column: int) -> Crop:
        """Return the crop that starts at a row and a column, cut off at the edges of the grid."""
        halo = self._halo
        return Crop(
            _stretch(row, self.size[0], self._shape[0], halo.before[0], halo.after[0], halo.period),
            _stretch(
                column, self.size[1], self._shape[1], halo.before[1], halo.after[1], halo.period, halo.closed
            ),
        )


def _stretch(
    start: int, size: int, n: int, before: int, after: int, period: int, closed: bool = False
) -> Stretch:
    stop = start + size
    if not closed:
        start, stop = max(start, 0), min(stop, n)
    first = (start - before) // period * period
    last = -(-(stop + after) // period) * period
    if closed and last - first < n:
        return Stretch(np.arange(first, last) % n, start - first, stop - start)
    if closed:  # crop and halo go once around: the whole axis, from the start of the crop
        return Stretch(np.roll(np.arange(n), -(start // period * period)), 0, min(stop - start, n))
    first, last = max(first, 0), min(last, n)
    return Stretch(np.arange(first, last), start - first, stop - start)
