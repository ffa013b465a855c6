"""Sums over the square around each cell, by integral images, at a cost that does not depend on its size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def box_sums(field: Tensor, size: int) -> Tensor:
    """Sum each square of cells inside the grid.

    Args:
        field: Finite, (..., lat, lon).
        size: Cells along a side.

    Returns:
        float64, (..., lat - size + 1, lon - size + 1).

    Source:
        Faggian et al. (2015), MAUSAM 66, 457-466: fractions skill score by summed area tables.
    """
    table = F.pad(field.double(), (1, 0, 1, 0)).cumsum(-1).cumsum(-2)
    rows = table[..., size:, :] - table[..., :-size, :]
    return rows[..., size:] - rows[..., :-size]


def fitting(size: int, grid: torch.Size | tuple[int, ...]) -> int:
    """The largest odd size that is at most the requested one and fits into (lat, lon)."""
    size = min(size, *grid[-2:])
    return size if size % 2 else size - 1
