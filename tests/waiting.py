"""One home for waiting in tests: for a condition, with a limit that a slow, busy machine does not reach."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LIMIT_SECONDS = 300.0
"""Reached only where the condition never comes true."""
PAUSE_SECONDS = 0.02


def until(
    condition: Callable[[], T],
    *,
    says: Callable[[], object] = lambda: "",
    ignore: tuple[type[Exception], ...] = (),
    seconds: float = LIMIT_SECONDS,
    pause: float = PAUSE_SECONDS,
) -> T:
    """Ask again until the condition is true, and return what it gave.

    Args:
        condition: Asked every `pause` seconds; it may fail a test early by raising.
        says: Message if the condition never comes true.
        ignore: Errors that mean "not yet".
        seconds: When to give up.
        pause: Between two looks.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except ignore:
            pass
        assert time.monotonic() < end, f"not true within {seconds:g} s. {says()}"
        time.sleep(pause)


async def until_async(condition: Callable[[], T], seconds: float = LIMIT_SECONDS) -> T:
    """As `until`, for a condition that the tasks of this event loop bring about."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not true within {seconds:g} s"
        await asyncio.sleep(PAUSE_SECONDS)
    return found
