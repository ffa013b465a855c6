"""From logits to probabilities."""

from __future__ import annotations

from torch import Tensor


def probability(logits: Tensor) -> Tensor:
    """Return the probability of an event, or of classes that exclude each other.

    Args:
        logits: (batch, class, ...).

    Returns:
        The same shape: of one class its sigmoid, of several their softmax, whose sum is 1.
    """
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
