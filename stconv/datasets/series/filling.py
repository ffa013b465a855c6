"""Missing values filled from known ones: those of the same cell at other times, and those of cells around it.

The functions serve NumPy and torch but import only NumPy, since `stconv inspect` does not load torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Field = TypeVar("Field", np.ndarray, "Tensor")


def newest_known(frames: Iterable[Field]) -> Field:
    """Return the newest known value of each cell, which is persistence.

    Args:
        frames: Frames of one shape, NaN where missing, the newest first.

    Returns:
        Array of the same shape; NaN in cells without a value in any frame.
    """
    older = iter(frames)
    newest = next(older)
    for frame in older:
        newest = _filled(newest, frame)
    return newest


def fill_forward_and_backward(x: Tensor) -> Tensor:
    """Fill gaps forward with the last known value of the cell; those before its first value with that one.

    Args:
        x: (batch, channel, time, lat, lon), NaN where missing.

    Returns:
        Filled array of the same shape; NaN in cells without a value at any time.
    """
    import torch

    frames = list(x.unbind(2))
    order = range(len(frames))
    for steps in (order, reversed(order)):
        known = None
        for step in steps:
            known = frames[step] = frames[step] if known is None else _filled(frames[step], known)
    return torch.stack(frames, dim=2)


def fill_from_around(x: Tensor) -> Tensor:
    """Fill each missing cell with the mean of the known cells around it.

    It is the mean over the 3 x 3 cells around the cell. If none of them is known, it is that over the 3 x 3
    blocks of 3 x 3 cells around its block, then over blocks of 9 x 9, 27 x 27, ... cells.

    Args:
        x: (..., lat, lon), NaN where missing.

    Returns:
        Filled array of the same shape; NaN where a whole field is missing.
    """
    from torch.nn.functional import avg_pool2d

    fields = x.reshape(-1, 1, *x.shape[-2:])
    known = ~fields.isnan()
    total, count, size = fields.nan_to_num(0.0), known.to(x.dtype), 1
    while not known.all():
        mean = avg_pool2d(total, 3, 1, 1) / avg_pool2d(count, 3, 1, 1)
        mean = mean.repeat_interleave(size, -2).repeat_interleave(size, -1)
        fields = fields.where(known, mean[..., : x.shape[-2], : x.shape[-1]])
        known = ~fields.isnan()
        if size >= max(x.shape[-2:]):
            break
        total, count = (
            avg_pool2d(blocks, 3, ceil_mode=True, divisor_override=1) for blocks in (total, count)
        )
        size *= 3
    return fields.reshape(x.shape)


def _filled(frame: Field, other: Field) -> Field:
    """Return the frame, with the values of another one where it has none."""
    if isinstance(frame, np.ndarray):
        return np.where(np.isnan(frame), other, frame)
    return other.where(frame.isnan(), frame)
