"""Limits of the container that a process runs in, from its control groups (Linux)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def processor_quota(root: Path = ROOT) -> float | None:
    """Cores that the container may use; None without a quota.

    Args:
        root: Root of the file system with `proc` and `sys`.

    Source:
        Linux kernel documentation, Control Group v2, "CPU Interface Files" (`cpu.max`); Control Group v1,
        "CFS Bandwidth Control" (`cpu.cfs_quota_us`).
    """
    found = [
        int(quota) / int(period)
        for quota, period in _values(root, "cpu", ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        if quota.isdecimal() and period.isdecimal() and int(period)
    ]
    return min(found, default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Memory that the container may use, bytes; None without a limit.

    Args:
        root: Root of the file system with `proc` and `sys`.

    Source:
        Linux kernel documentation, Control Group v2, "Memory Interface Files" (`memory.max`); Control Group
        v1, "Memory Resource Controller" (`memory.limit_in_bytes`, of a size near 2^63 without a limit).
    """
    values = _values(root, "memory", ("memory.max",), ("memory.limit_in_bytes",))
    found = [int(value) for (value,) in values if value.isdecimal() and int(value) < 2**60]
    return min(found, default=None)


def _values(
    root: Path, controller: str, second: tuple[str, ...], first: tuple[str, ...]
) -> Iterator[list[str]]:
    """Values of the files of a group and of all groups above it, of both versions of control groups."""
    text = _text(root / "proc/self/cgroup")
    groups = root / "sys/fs/cgroup"
    for base, line, names in (
        (groups, r"^0::(\S+)$", second),
        (groups / controller, rf"^\d+:(?:\w+,)*{controller}(?:,\w+)*:(\S+)$", first),
    ):
        own = re.search(line, text, re.MULTILINE)
        inside = Path(own[1].lstrip("/")) if own else Path()
        n_values = 2 if controller == "cpu" else 1
        for group in (inside, *inside.parents):
            words = " ".join(_text(base / group / name) for name in names).split()
            if len(words) == n_values:
                yield words


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
