"""A choice of evenly spaced items of a sequence, from the first to the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_spaced(items: Sequence[T], most: int) -> list[T]:
    """Choose at most `most` items, evenly spaced, including the first and the last.

    Args:
        items: Items to choose from, for example reference indices or leads.
        most: Largest number of items; 1 chooses the first.
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, most - 1))] for i in range(most)]
