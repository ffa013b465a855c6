"""The mean of a loss over all values that it counts, across batches and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class PooledMean:
    """The mean of batches that count different numbers of values.

    mean = (sum of weight * loss^exponent / sum of weight)^(1 / exponent)

    Attributes:
        exponent: Power of the loss that is averaged: 2 for roots of means.
        total: Sum of the weighted powers.
        weight: Sum of the weights.
    """

    exponent: int = 1
    total: float = 0.0
    weight: float = 0.0

    def add(self, loss: float, weight: float) -> None:
        """Add the loss of a batch; one that counts no value has no weight."""
        if weight:
            self.total, self.weight = self.total + weight * loss**self.exponent, self.weight + weight

    def merge(self, *others: PooledMean) -> PooledMean:
        """Merge with the means of others."""
        parts = (self, *others)
        return PooledMean(
            self.exponent, sum(part.total for part in parts), sum(part.weight for part in parts)
        )

    @property
    def mean(self) -> float:
        """NaN if nothing was added."""
        return (self.total / self.weight) ** (1 / self.exponent) if self.weight else math.nan
