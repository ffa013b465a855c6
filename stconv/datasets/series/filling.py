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

    It is the mean over the smallest square of 3 x 3, 9 x 9, 27 x 27, ... cells around the cell that contains
    a known one; squares end at the edge of the grid.

    Args:
        x: (..., lat, lon), NaN where missing.

    Returns:
        Filled array of the same shape; NaN where a whole field is missing.
    """
    import torch

    known = ~x.isnan()
    sums = torch.stack([x.nan_to_num(0.0), known.to(x.dtype)])  # also beyond the grid, within reach
    n_lat, n_lon = x.shape[-2:]
    width, reach = 1, 0
    while reach < max(n_lat, n_lon) and not known.all():
        sums = _sums_of_three(_sums_of_three(sums, width).mT, width).mT
        width, reach = 3 * width, reach + width
        total, count = sums[..., reach : reach + n_lat, reach : reach + n_lon]
        x = (total / count).where(~known & (count > 0), x)
        known = known | (count > 0)
    return x


def _sums_of_three(x: Tensor, distance: int) -> Tensor:
    """Sum each value and its neighbors at a distance along the last axis, which grows by it on both sides."""
    import torch

    before_and_after = ((2 * distance, 0), (distance, distance), (0, 2 * distance))
    first, second, third = (torch.nn.functional.pad(x, pads) for pads in before_and_after)
    return first + second + third


def _filled(frame: Field, other: Field) -> Field:
    """Return the frame, with the values of another one where it has none."""
    if isinstance(frame, np.ndarray):
        return np.where(np.isnan(frame), other, frame)
    return other.where(frame.isnan(), frame)
