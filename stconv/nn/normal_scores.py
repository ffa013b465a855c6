"""Quantiles of the standard normal distribution at equally spaced probabilities."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor


def normal_scores(n: int) -> Tensor:
    """Return the quantiles (i - 1/2) / n for i = 1 to n, ascending, float32, (n,)."""
    normal = NormalDist()  # torch's own function cannot be exported to ONNX
    return torch.tensor([normal.inv_cdf((i + 0.5) / n) for i in range(n)])
