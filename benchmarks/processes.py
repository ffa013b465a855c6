"""Memory and processor time of a server and of all processes below it, from /proc (Linux)."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

MODEL = "stconv-model"


def family(root: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            found = re.search(r"^PPid:\t(\d+)$", status.read_text(), re.MULTILINE)
            parents[int(status.parent.name)] = int(found[1]) if found else 0
    members = {root}
    while more := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def memory(root: int) -> float:
    """MB of a process and all below it, shared pages counted once."""
    kilobytes = 0
    for pid in family(root):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kilobytes += int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0])
    return kilobytes / 1e3


def processor_seconds(root: int) -> dict[str, float]:
    """Processor time so far of the server itself, its model, and its parsers, those that ended included."""
    spent = {"server": 0.0, "model": 0.0, "parsers": 0.0}
    for pid in family(root):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text()
            name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            user, system, child_user, child_system = (int(ticks) for ticks in rest[11:15])
            who = "server" if pid == root else "model" if name == MODEL else "parsers"
            ended = child_user + child_system if who == "parsers" else 0
            spent[who] += (user + system + ended) / os.sysconf("SC_CLK_TCK")
    return spent
