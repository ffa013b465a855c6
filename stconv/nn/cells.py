"""The order in which the fast paths keep a tensor: cells outermost, channels innermost.

A tensor (batch, channel, time, lat, lon) is viewed as (lat, lon, batch, time, channel). In this order the
steps of a cell are contiguous, so that a convolution in time is a matrix product over a slice of them. Each
row or column of the grid is one long vector, so that a transform along lat or lon is a matrix product too.
Nothing is copied between two layers that both keep this order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stconv.nn.fast_paths import only_torch as only_torch  # re-exported: its former place

CELLS, FRAMES = (3, 4, 0, 2, 1), (0, 2, 3, 4, 1)
"""Orders of (batch, channel, time, lat, lon) with channels innermost: `CELLS` as above, `FRAMES` as torch's
channels_last_3d."""


def to_cells(x: Tensor) -> Tensor:
    """Bring (batch, channel, time, lat, lon) to contiguous (lat, lon, batch, time, channel)."""
    return x.permute(CELLS).contiguous()


def from_cells(y: Tensor) -> Tensor:
    """View (lat, lon, batch, time, channel) as (batch, channel, time, lat, lon).

    A single frame of a single window is copied if it needs a gradient: its strides would match no memory
    order, and batch normalization in torch 2.13 returns a wrong gradient if the incoming gradient has another
    order.
    """
    x = y.permute(2, 4, 3, 0, 1)
    one_frame = y.shape[2] == y.shape[3] == 1
    return x.clone(memory_format=torch.channels_last_3d) if one_frame and y.requires_grad else x


def in_cells(x: Tensor) -> bool:
    """Whether (batch, channel, time, lat, lon) has its cells outermost, so that `to_cells` copies nothing."""
    return x.permute(CELLS).is_contiguous()


def in_frames(x: Tensor) -> bool:
    """Whether (batch, channel, time, lat, lon) is in channels_last_3d, and not with cells outermost."""
    return x.permute(FRAMES).is_contiguous() and not in_cells(x)


def channels_innermost(x: Tensor) -> tuple[int, ...] | None:
    """Return the memory order of (batch, channel, time, lat, lon) if channels are innermost, else None."""
    return next((order for order in (CELLS, FRAMES) if x.permute(order).is_contiguous()), None)


def steps_seen(n_in: int, n_taps: int, zeros: tuple[int, int]) -> list[tuple[range, range]]:
    """List the frames that each output step of a convolution along time sees, and the taps that see them.

    Args:
        n_in: Number of frames.
        n_taps: Number of taps.
        zeros: Steps of zeros before and after the frames; they are not multiplied.
    """
    found = []
    for first in range(-zeros[0], n_in + zeros[1] - n_taps + 1):
        start, stop = max(first, 0), min(first + n_taps, n_in)
        sees = stop > start
        found.append(
            (range(start, stop), range(start - first, stop - first)) if sees else (range(0), range(0))
        )
    return found
