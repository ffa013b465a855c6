"""Some of many: evenly spaced from the first to the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_spaced(items: Sequence[T], most: int) -> list[T]:
    """Take at most so many items, evenly spaced, the first and the last among them.

    Args:
        items: Such as the reference indices of a period, or its leads.
        most: How many at the most; of one, it is the first.
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, most - 1))] for i in range(most)]
