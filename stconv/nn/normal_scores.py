"""Equally probable values of a standard normal distribution."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor


def normal_scores(n: int) -> Tensor:
    """Quantiles (i - 1/2) / n for i = 1 to n, ascending, float32, (n,)."""
    normal = NormalDist()  # not torch's, which has no form in ONNX
    return torch.tensor([normal.inv_cdf((i + 0.5) / n) for i in range(n)])
