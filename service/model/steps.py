"""The steps that the threads of the model's process are at, and which of them takes too long."""

from __future__ import annotations

import threading
import time


class Steps:
    """Steps that the threads of a process are at, each with the time that it may take."""

    def __init__(self) -> None:
        self._ends: dict[int, tuple[float, str]] = {}

    def begin(self, name: str, seconds: float) -> None:
        """Begin a step in this thread."""
        self._ends[threading.get_ident()] = (
            time.monotonic() + seconds,
            f"{name} takes longer than {seconds:.3g} s",
        )

    def end(self) -> None:
        """End the step of this thread, if it is at one."""
        self._ends.pop(threading.get_ident(), None)

    def overdue(self) -> str:
        """Name a step that takes too long; "" if there is none."""
        now = time.monotonic()
        return next((said for end, said in list(self._ends.values()) if end < now), "")
