"""The order in which the fast paths keep a tensor: cells outermost, channels innermost.

A tensor (batch, channel, time, lat, lon) is viewed as (lat, lon, batch, time, channel). Then the steps of a
cell lie one after the other, so that a convolution in time is a matrix product over a slice of them, and all
that belongs to one row or column of the grid is one long vector, so that a transform along lat or lon is a
matrix product too. Nothing is copied between two layers that both keep this order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stconv.nn.fast_paths import only_torch as only_torch  # where it was, and where others look for it

CELLS, FRAMES = (3, 4, 0, 2, 1), (0, 2, 3, 4, 1)
"""Orders of (batch, channel, time, lat, lon) with channels innermost: ours, and torch's channels_last_3d."""


def to_cells(x: Tensor) -> Tensor:
    """Bring (batch, channel, time, lat, lon) to contiguous (lat, lon, batch, time, channel)."""
    return x.permute(CELLS).contiguous()


def from_cells(y: Tensor) -> Tensor:
    """View (lat, lon, batch, time, channel) as (batch, channel, time, lat, lon).

    One frame of one window is copied if gradients are wanted: its strides would be those of no order, and
    batch normalization of torch 2.13 then gives a wrong gradient where that of its result has another order.
    """
    x = y.permute(2, 4, 3, 0, 1)
    one_frame = y.shape[2] == y.shape[3] == 1
    return x.clone(memory_format=torch.channels_last_3d) if one_frame and y.requires_grad else x


def in_cells(x: Tensor) -> bool:
    """Whether (batch, channel, time, lat, lon) is kept cells outermost, so that `to_cells` copies nothing."""
    return x.permute(CELLS).is_contiguous()


def channels_innermost(x: Tensor) -> tuple[int, ...] | None:
    """Return the order of (batch, channel, time, lat, lon) in memory if channels are innermost, else None."""
    return next((order for order in (CELLS, FRAMES) if x.permute(order).is_contiguous()), None)


def steps_seen(n_in: int, n_taps: int, zeros: tuple[int, int]) -> list[tuple[range, range]]:
    """For each output step of a convolution along time: the frames that it sees, and the taps that see them.

    Args:
        n_in: Number of frames.
        n_taps: Number of taps.
        zeros: Steps of zeros before and after the frames; nobody needs to multiply them.
    """
    found = []
    for first in range(-zeros[0], n_in + zeros[1] - n_taps + 1):
        start, stop = max(first, 0), min(first + n_taps, n_in)
        sees = stop > start
        found.append(
            (range(start, stop), range(start - first, stop - first)) if sees else (range(0), range(0))
        )
    return found
