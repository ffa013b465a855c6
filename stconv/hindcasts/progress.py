"""The progress of a hindcast: forecasts done, their rate, and the time to the end."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

LINE_SECONDS = 30.0
"""Time between two lines where there is no terminal, s."""


class Progress:
    """A bar in a terminal, a line now and then in a log.

    Args:
        n: Number of forecasts.
        done: Those that an earlier run made.
        shown: Whether to show anything.
    """

    def __init__(self, n: int, done: int = 0, shown: bool = True) -> None:
        self.n, self.done, self._before, self._shown = n, done, done, shown
        self._began = self._said = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("Hindcast"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._bar.start()
            self._bar.add_task("", total=self.n, completed=self.done)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, n: int) -> None:
        """Count forecasts that are done."""
        self.done += n
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, description=self.pace())
        elif self._shown and time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            print(f"{self.done} of {self.n} forecasts, {self.pace()}", file=sys.stderr, flush=True)

    @property
    def rate(self) -> float:
        """Forecasts per second of this run; 0 before the first."""
        return (self.done - self._before) / max(time.monotonic() - self._began, 1e-9)

    def pace(self) -> str:
        """Describe the rate and the time to the end."""
        rate = self.rate
        left = timedelta(seconds=round((self.n - self.done) / max(rate, 1e-9)))
        return f"{rate:.3g} per second, {left} left"
