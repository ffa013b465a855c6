"""A loader of batches that goes on in the middle of an epoch, where a checkpoint was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from stconv.datasets.series.sampling import EpochShuffle, Shard
from stconv.datasets.series.stream_order import StreamOrder


class ResumableLoader(DataLoader[Any]):
    """A loader whose state is the number of batches that it has given in this epoch.

    The order of an epoch depends on seed and epoch alone, so that the windows of these batches are passed
    over without being read. `ResumePoint` keeps the state in every checkpoint; Lightning does as well, but
    loses it if the schedule of the learning rate asked for the number of steps before.

    It draws from a generator of its own, so that the random numbers of a training do not depend on where it
    was resumed.
    """

    def __init__(self, dataset: Dataset[Any], **settings: Any) -> None:
        super().__init__(dataset, generator=torch.Generator(), **settings)
        self._given = self._first = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Begin an epoch with the first batch that is asked for; Lightning sets the epoch before that."""
        self._given, self._first = self._first, 0
        if isinstance(self.sampler, EpochShuffle | Shard | StreamOrder):
            self.sampler.passed = self._given * (self.batch_size or 1)
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Number of batches of this epoch that were given."""
        return {"given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Pass over these batches in the epoch that is begun next; those of a whole epoch are none."""
        self._first = state["given"] % len(self)
