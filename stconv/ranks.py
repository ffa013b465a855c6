"""Sums over all processes of a training, so that its loss is the mean over their cells together.

The mean of the processes' means is another number where one of them has more valid cells than another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_N_RANKS: ContextVar[int] = ContextVar("_N_RANKS", default=1)


@contextmanager
def pooled(n_ranks: int) -> Iterator[None]:
    """Let `sums_of_all` add up over processes; all of them compute the same losses within.

    Args:
        n_ranks: Number of processes.
    """
    token = _N_RANKS.set(n_ranks)
    try:
        yield
    finally:
        _N_RANKS.reset(token)


def sums_of_all(sums: Tensor) -> Tensor:
    """Add sums up over the processes of `pooled`; outside of it they are returned unchanged.

    DDP and FSDP average the gradients of the processes. The gradient of our own part is therefore multiplied
    by their number, and the average is the gradient of the loss of all cells.

    Args:
        sums: Sums over the cells of this process, any shape.

    Returns:
        Sums over the cells of all processes, same shape.
    """
    n_ranks = _N_RANKS.get()
    if n_ranks == 1:
        return sums
    of_all = sums.detach().clone()
    torch.distributed.all_reduce(of_all)
    return n_ranks * sums + (of_all - n_ranks * sums.detach())
