"""In which order an epoch visits its windows: a function of seed and epoch alone."""

from __future__ import annotations

import torch
from torch.utils.data import RandomSampler


class EpochShuffle(RandomSampler):
    """Order that depends on seed and epoch alone, so that a resumed training goes on as it would have.

    Args:
        n: Number of windows.
        seed: Seed of epoch 0.
    """

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(range(n), generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.generator.manual_seed(self.seed + epoch)
