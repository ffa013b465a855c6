"""Blocks of a stored series, read ahead by threads: each once for an order of windows, in bounded memory."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from stconv.processor import available_cores

Read = Callable[[int, int], np.ndarray]
"""Returns the values of steps start to stop, float32, (stop - start, channel, lat, lon)."""
MOST_THREADS = 8
KEPT_WITHOUT_PLAN = 2
"""Blocks kept for reading from one end to the other; the next one is read meanwhile."""


class ReadAhead:
    """Holds the blocks that are needed now and next, and reads further ones in threads.

    With a plan (`begin`), blocks are read in the order of their first use and dropped after their last use,
    so that each is decoded once. Reading ahead stops while `most_bytes` are held. Without a plan the newest
    blocks are kept, and the next one is read ahead.

    Args:
        read: Reads some steps from the source; called by several threads.
        edges: First step of each block, and at the end the number of steps.
        most_bytes: Bytes of blocks held and being read; a single window may need more.
        frame_bytes: Bytes of one step.
    """

    def __init__(self, read: Read, edges: Sequence[int], most_bytes: int, frame_bytes: int) -> None:
        self._read, self.edges = read, list(edges)
        self.most_bytes, self._frame_bytes = most_bytes, frame_bytes
        self._blocks: OrderedDict[int, Future[np.ndarray]] = OrderedDict()
        self._uses: Counter[int] = Counter()
        self._coming: list[int] = []
        self._next, self._held = 0, 0
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def apart(self) -> ReadAhead:
        """Another reader of the same blocks, with a plan and memory of its own; this one drops its blocks."""
        with self._lock:
            for block in list(self._blocks):
                self._drop(block)
        return ReadAhead(self._read, self.edges, self.most_bytes, self._frame_bytes)

    def most_blocks(self) -> int:
        """Number of blocks that the memory holds, by the largest."""
        largest = max(self._bytes(block) for block in range(len(self.edges) - 1))
        return max(1, self.most_bytes // max(largest, 1))

    def blocks_of(self, start: int, stop: int) -> range:
        """Blocks that hold steps start to stop."""
        return range(bisect_right(self.edges, start) - 1, bisect_right(self.edges, stop - 1))

    def begin(self, spans: Iterable[tuple[int, int]]) -> None:
        """Begin to read for an order of windows.

        Args:
            spans: First step of each window, and the step after its last.
        """
        with self._lock:
            self._uses = Counter()
            for start, stop in spans:
                self._uses.update(self.blocks_of(start, stop))
            self._coming, self._next = list(self._uses), 0
            for block in [block for block in self._blocks if block not in self._uses]:
                self._drop(block)
            self._fill()

    def frames(self, start: int, stop: int, used: bool = False) -> np.ndarray:
        """Values of steps start to stop.

        Args:
            start: First step.
            stop: Step after the last.
            used: Whether this is a window of the plan, whose blocks are now needed once less.

        Returns:
            float32, (stop - start, channel, lat, lon); not to be changed.
        """
        blocks = self.blocks_of(start, stop)
        with self._lock:
            waiting = [self._ask(block) for block in blocks]
            if not self._coming and blocks.stop < len(self.edges) - 1:
                self._ask(blocks.stop)
        parts = [
            future.result()[max(start - self.edges[k], 0) : stop - self.edges[k]]
            for k, future in zip(blocks, waiting, strict=True)
        ]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        with self._lock:
            self._settle(blocks, used)
        return found

    def _settle(self, blocks: range, used: bool) -> None:
        """Drop what is not needed any more, and read further."""
        if self._coming:
            for block in blocks:
                if used:
                    self._uses[block] -= 1
                if self._uses[block] <= 0:
                    self._drop(block)
            self._fill()
            return
        for block in list(self._blocks)[: -KEPT_WITHOUT_PLAN - 1]:
            self._drop(block)

    def _fill(self) -> None:
        while self._next < len(self._coming):
            block = self._coming[self._next]
            if block not in self._blocks and self._uses[block] > 0:
                if self._held + self._bytes(block) > self.most_bytes:
                    return
                self._ask(block)
            self._next += 1

    def _ask(self, block: int) -> Future[np.ndarray]:
        if block not in self._blocks:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    min(MOST_THREADS, 2 * available_cores()), thread_name_prefix="read-ahead"
                )
            self._held += self._bytes(block)
            self._blocks[block] = self._pool.submit(self._read, self.edges[block], self.edges[block + 1])
        self._blocks.move_to_end(block)
        return self._blocks[block]

    def _drop(self, block: int) -> None:
        future = self._blocks.pop(block, None)
        if future is not None:
            future.cancel()
            self._held -= self._bytes(block)

    def _bytes(self, block: int) -> int:
        return (self.edges[block + 1] - self.edges[block]) * self._frame_bytes
