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
    """A finding of a check, with its remedy.

    Attributes:
        check: Name of the check.
        state: Its result.
        found: The finding itself, a sentence.
        remedy: The action to take, a sentence; empty if there is nothing to do.
    """

    check: str
    state: State
    found: str
    remedy: str = ""


def size(n_bytes: float) -> str:
    """Write a number of bytes for people: ``3.2 GiB``."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"
