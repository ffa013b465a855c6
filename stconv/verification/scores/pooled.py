"""The mean of a loss over windows, across batches and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class PooledMean:
    """The mean over windows, across processes with different numbers of windows.

    Lightning's own pooling divides the number of windows by the number of processes as integers.
    """

    total: float = 0.0
    count: int = 0

    def add(self, mean: float, count: int) -> None:
        """Add the mean over a number of windows."""
        self.total, self.count = self.total + mean * count, self.count + count

    def merge(self, *others: PooledMean) -> PooledMean:
        """Merge with the means of others."""
        parts = (self, *others)
        return PooledMean(sum(part.total for part in parts), sum(part.count for part in parts))

    @property
    def mean(self) -> float:
        """NaN if nothing was added."""
        return self.total / self.count if self.count else math.nan
