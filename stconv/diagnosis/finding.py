"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Result of a check: a fault stops work, a warning makes it slow or may stop it."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Attributes:
        check: Name of the check.
        state: Its result.
        found: What was found, a sentence.
        remedy: What to do, a sentence; empty if nothing has to be done.
    """

    check: str
    state: State
    found: str
    remedy: str = ""


def size(n_bytes: float) -> str:
    """Write a number of bytes for people: ``3.2 GiB``."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"
