"""The loss of a whole period from the losses of its batches: what each of them weighs in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exponent_of(loss: nn.Module | None) -> int:
    """Return the power of a loss that is averaged over batches: 2 for a root of a mean, else 1."""
    return int(getattr(loss, "exponent", 1))


def batch_weight(loss: nn.Module, target: Tensor, weight: Tensor, area: Tensor | None) -> Tensor:
    """Sum up the areas of all values that the loss of a batch counts.

    The mean of batches with these weights is the mean over all of their values. A loss that counts only some
    of the values with a weight says so in a method `counted(target, weight)`.

    Args:
        loss: The loss.
        target: Target as the loss takes it.
        weight: Weight as the loss takes it, same shape, with mean 1 in each batch; 0 for a missing value.
        area: Area of each cell, (lat, lon); None where every value counts alike.

    Returns:
        Scalar, float64.
    """
    counted = getattr(loss, "counted", None)
    counts = (weight if counted is None else counted(target, weight)) > 0
    return (counts if area is None else counts * area).sum(dtype=torch.float64)
