"""In which order an epoch visits its windows: a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import RandomSampler

BLOCK_BYTES = 16 * 2**20


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


class BlockShuffle(EpochShuffle):
    """Shuffle that reads a file locally: blocks of neighboring windows in random order, a few mixed.

    Args:
        n: Number of windows.
        seed: Seed of epoch 0.
        block: Windows of a block.
        mixed: Blocks whose windows are shuffled together.
    """

    def __init__(self, n: int, seed: int, block: int, mixed: int = 8) -> None:
        super().__init__(n, seed)
        self.n, self.block, self.mixed = n, max(1, block), mixed

    def __iter__(self) -> Iterator[int]:
        blocks = torch.arange(self.n).split(self.block)
        order = torch.randperm(len(blocks), generator=self.generator).tolist()
        for first in range(0, len(order), self.mixed):
            together = torch.cat([blocks[i] for i in order[first : first + self.mixed]])
            yield from together[torch.randperm(len(together), generator=self.generator)].tolist()


def epoch_order(n: int, seed: int, frame_bytes: int, on_disk: bool) -> EpochShuffle:
    """Plain shuffle of a series in memory, block shuffle of one on disk."""
    return BlockShuffle(n, seed, BLOCK_BYTES // frame_bytes) if on_disk else EpochShuffle(n, seed)
