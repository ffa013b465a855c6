"""Equally probable values of a standard normal distribution."""

from __future__ import annotations

import torch
from torch import Tensor


def normal_scores(n: int) -> Tensor:
    """Quantiles (i - 1/2) / n for i = 1 to n, ascending, float32, (n,)."""
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return torch.special.ndtri(levels).float()
