"""The order of the windows in an epoch, a function of seed and epoch alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DistributedSampler, RandomSampler, Sampler

BLOCK_BYTES = 16 * 2**20


class EpochShuffle(RandomSampler):
    """Order that depends on seed and epoch alone, so that a resumed training continues unchanged.

    Args:
        n: Number of windows.
        seed: Seed of epoch 0.
    """

    passed = 0
    """Number of windows to pass over in the epoch that is begun next, and in no other."""

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(range(n), generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each epoch."""
        self.generator.manual_seed(self.seed + epoch)

    def __iter__(self) -> Iterator[int]:
        first, self.passed = self.passed, 0
        return itertools.islice(self._order(), first, None)

    def _order(self) -> Iterator[int]:
        return super().__iter__()


class BlockShuffle(EpochShuffle):
    """Shuffle with local reads: blocks of neighboring windows in random order, a few blocks mixed.

    Args:
        n: Number of windows.
        seed: Seed of epoch 0.
        block: Number of windows in a block.
        mixed: Number of blocks whose windows are shuffled together.
    """

    def __init__(self, n: int, seed: int, block: int, mixed: int = 8) -> None:
        super().__init__(n, seed)
        self.n, self.block, self.mixed = n, max(1, block), mixed

    def _order(self) -> Iterator[int]:
        blocks = torch.arange(self.n).split(self.block)
        order = torch.randperm(len(blocks), generator=self.generator).tolist()
        for first in range(0, len(order), self.mixed):
            together = torch.cat([blocks[i] for i in order[first : first + self.mixed]])
            yield from together[torch.randperm(len(together), generator=self.generator)].tolist()


class Shard(DistributedSampler[int]):
    """The part of an order for one of several processes; the parts are disjoint.

    Process r of n takes items r, r + n, r + 2 n, ... of the order. With batches of b / n each, the batches of
    all processes together equal those of one process with batches of b.

    Args:
        order: The order, the same in every process.
        n: Number of windows in the order.
        rank: Index of this process, from 0.
        n_ranks: Number of processes.
        even: Whether to drop the last windows of an epoch (fewer than processes), so that all processes have
            the same number, as training needs. Otherwise every window is visited exactly once.
    """

    passed = 0
    """Number of its windows to pass over in the epoch that is begun next, and in no other."""

    def __init__(self, order: Sampler[int], n: int, rank: int, n_ranks: int, even: bool) -> None:
        windows: Any = range(n)
        super().__init__(windows, num_replicas=n_ranks, rank=rank, shuffle=False, drop_last=even)
        self.order, self.stop = order, n - n % n_ranks if even else n

    def __iter__(self) -> Iterator[int]:
        first, self.passed = self.rank + self.passed * self.num_replicas, 0
        return itertools.islice(iter(self.order), first, self.stop, self.num_replicas)

    def __len__(self) -> int:
        return len(range(self.rank, self.stop, self.num_replicas))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each epoch."""
        if isinstance(self.order, EpochShuffle):
            self.order.set_epoch(epoch)


def epoch_order(n: int, seed: int, frame_bytes: int, on_disk: bool) -> EpochShuffle:
    """Plain shuffle of a series in memory, block shuffle of one on disk."""
    return BlockShuffle(n, seed, BLOCK_BYTES // frame_bytes) if on_disk else EpochShuffle(n, seed)
