"""Warnings of stconv as a caller meets them: at the caller's own line, and once in a call."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PACKAGE = str(Path(__file__).resolve().parents[1])
BETWEEN = (PACKAGE, contextlib.__file__)
"""Files whose frames lie between the caller and this module."""


@contextlib.contextmanager
def warned_at_the_caller() -> Iterator[None]:
    """Show a warning that the package raises in the block at the line that called the package.

    The same sentence is shown once, however often a file is read. Warnings of other packages stay as
    they are.
    """
    before, place, said = warnings.showwarning, _caller(), set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if place is not None and filename.startswith(PACKAGE):
            if (category, str(message)) in said:
                return
            said.add((category, str(message)))
            filename, lineno = place
        before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        if warnings.showwarning is show:
            warnings.showwarning = before


def _caller() -> tuple[str, int] | None:
    """Return file and line of the innermost call from outside of the package; None for its own commands."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(BETWEEN):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None or frame.f_globals.get("__name__") == "runpy":
        return None
    return frame.f_code.co_filename, frame.f_lineno
