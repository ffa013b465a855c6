"""The order of windows of a series that is streamed: along the stored blocks, mixed within a few of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from stconv.datasets.series.dataset import WindowDataset

Announce = Callable[[list[int]], None]
"""Receives the items of an epoch in their order, before the first is asked for."""
MOST_CURSORS = 8
"""Most places of the series from which windows are mixed."""


class StreamOrder(DistributedSampler[int]):
    """An order of windows that is announced before its first window is asked for.

    Args:
        n: Number of windows of all processes.
        announce: Receives the order of each epoch.
        rank: Index of this process, from 0.
        n_ranks: Number of processes.
    """

    passed = 0
    """Number of its windows to pass over in the epoch that is begun next, and in no other."""

    def __init__(self, n: int, announce: Announce, rank: int, n_ranks: int) -> None:
        windows: Any = range(n)
        super().__init__(windows, num_replicas=n_ranks, rank=rank, shuffle=False)
        self.announce = announce

    def __iter__(self) -> Iterator[int]:
        order, self.passed = self.order()[self.passed :], 0
        self.announce(order)
        return iter(order)

    @abstractmethod
    def order(self) -> list[int]:
        """Windows of this process in the epoch that was set, those passed over included."""


class StreamShuffle(StreamOrder):
    """Order that visits the stored blocks one after another, and mixes the windows of a few of them.

    The windows of a process are cut into some equal parts of the series, so that each mixture holds several
    seasons. All parts go forward together, a few blocks at a time, and the windows of these blocks are
    shuffled. Where the first part begins is drawn for each epoch. Every block is needed in one piece of time,
    but for those at the ends of the parts.

    Several processes share the windows out as consecutive pieces, equally many for each, so that a block is
    read by one process.

    Args:
        blocks: Block of each window, ascending.
        seed: Seed of epoch 0.
        mixed: Number of blocks whose windows are shuffled together.
        cursors: Number of parts.
        announce: Receives the order of each epoch.
        rank: Index of this process, from 0.
        n_ranks: Number of processes.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        seed: int,
        mixed: int,
        cursors: int,
        announce: Announce,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        super().__init__(len(blocks), announce, rank, n_ranks)
        self.blocks, self.first_seed = list(blocks), seed
        self.cursors = max(1, min(cursors, mixed))
        self.at_once = max(1, mixed // self.cursors)

    def __len__(self) -> int:
        return len(self.blocks) // self.num_replicas

    def order(self) -> list[int]:
        """Windows of this process, in an order that depends on seed and epoch alone."""
        n, random = len(self), torch.Generator().manual_seed(self.first_seed + self.epoch)
        starts = [i for i in range(len(self.blocks)) if i == 0 or self.blocks[i] != self.blocks[i - 1]]
        first = starts[int(torch.randint(len(starts), (1,), generator=random))]
        turned = [*range(first, len(self.blocks)), *range(first)]
        parts = self._parts(turned[self.rank * n : (self.rank + 1) * n])
        order: list[int] = []
        for at in range(0, max(map(len, parts), default=0), self.at_once):
            together = [item for part in parts for block in part[at : at + self.at_once] for item in block]
            order += [together[i] for i in torch.randperm(len(together), generator=random).tolist()]
        return order

    def _parts(self, items: list[int]) -> list[list[list[int]]]:
        """Cut items into equal parts of whole blocks: the items by part and block."""
        groups: list[list[int]] = []
        for item in items:
            if not groups or self.blocks[groups[-1][0]] != self.blocks[item]:
                groups.append([])
            groups[-1].append(item)
        length = -(-len(groups) // self.cursors)
        return [groups[start : start + length] for start in range(0, len(groups), max(1, length))]


class StreamInOrder(StreamOrder):
    """Windows in their order, for validation and test; each process takes consecutive ones.

    Args:
        n: Number of windows.
        announce: Receives the order.
        rank: Index of this process, from 0.
        n_ranks: Number of processes.
    """

    def __init__(self, n: int, announce: Announce, rank: int = 0, n_ranks: int = 1) -> None:
        super().__init__(n, announce, rank, n_ranks)
        edges = [n * k // n_ranks for k in range(n_ranks + 1)]
        self.items = range(edges[rank], edges[rank + 1])

    def __len__(self) -> int:
        return len(self.items)

    def order(self) -> list[int]:
        """Windows of this process, ascending."""
        return list(self.items)


def stream_shuffle(windows: WindowDataset, seed: int, rank: int = 0, n_ranks: int = 1) -> StreamShuffle:
    """Make the order of training windows that suits the memory for blocks.

    While the windows of some blocks are used, the next blocks are read; the first blocks of each part are
    held until the last windows of the part before it need them.

    Args:
        windows: Training windows of a streamed series.
        seed: Seed of epoch 0.
        rank: Index of this process, from 0.
        n_ranks: Number of processes.
    """
    assert windows.stream is not None
    reader = windows.stream.blocks
    spans = [reader.blocks_of(*span) for span in windows.spans()]
    at_once = max(map(len, spans))
    most = max(2 * at_once, reader.most_blocks())
    cursors = max(1, min(MOST_CURSORS, most // (4 * at_once)))
    mixed = max(cursors, (most - cursors * (at_once - 1)) // 2)
    return StreamShuffle([span[0] for span in spans], seed, mixed, cursors, windows.announce, rank, n_ranks)
