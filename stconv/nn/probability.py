"""Conversion of logits to probabilities."""

from __future__ import annotations

from torch import Tensor


def probability(logits: Tensor) -> Tensor:
    """Return the probability of an event, or of mutually exclusive classes.

    Args:
        logits: Logits, (batch, class, ...).

    Returns:
        Probabilities of the same shape: the sigmoid of a single class; the softmax of several, which sums to
        1.
    """
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
