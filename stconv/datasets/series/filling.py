"""Missing values filled in time: the newest known value of a cell, and gaps filled from known frames.

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


def _filled(frame: Field, other: Field) -> Field:
    """Return the frame, with the values of another one where it has none."""
    if isinstance(frame, np.ndarray):
        return np.where(np.isnan(frame), other, frame)
    return other.where(frame.isnan(), frame)
