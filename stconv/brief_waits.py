"""Short waits of torch's threads for one another while other programs need the processor.

`processor.choose_threads` shortens these waits before torch is loaded. In a notebook torch is often loaded
first, and OpenMP reads its environment only once. GNU OpenMP has a second rule: while it has more threads
than the process has cores, a waiting thread spins 100 turns instead of 300,000 before it sleeps. So idle
threads are started while other programs are busy, and end with the call. Neither the number of threads that
compute nor any result changes. `python -m benchmarks.waiting` measures the effect.

Source:
    GNU libgomp manual, "GOMP_SPINCOUNT".
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stconv.containers import ROOT
from stconv.processor import WAITING

PAUSE_SECONDS = 0.25
"""Time between two looks at the processor."""
BUSY_CORES = 0.25
"""Cores in use by other programs, beyond those that torch leaves free, from which waits are short."""
QUIET_LOOKS = 8
"""Looks in a row at a quiet machine after which waits are long again."""
ELEMENTS = 1 << 20
"""Size of a sum that torch spreads over all of its threads."""
_watching = threading.Lock()


@dataclass(frozen=True)
class Usage:
    """Processor time since the start of the machine, seconds.

    Attributes:
        all: Time of all programs, on the cores that this process may use.
        own: Time of this process.
    """

    all: float
    own: float


def usage(cores: set[int], root: Path = ROOT) -> Usage:
    """Read the processor time of all programs and of this process.

    Args:
        cores: Numbers of the cores to count.
        root: Root of the file system with `proc`.

    Source:
        Linux kernel documentation, proc(5), "/proc/stat": user, nice, system, idle, iowait, irq, softirq,
        steal, in ticks.
    """
    ticks = 0
    for line in (root / "proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name[3:].isdecimal() and int(name[3:]) in cores:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, counts[:8])
            ticks += user + nice + system + irq + softirq + steal
    own = os.times()
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), own.user + own.system)


def others(before: Usage, now: Usage, seconds: float) -> float:
    """Mean number of cores that other programs have used between two looks."""
    return max((now.all - before.all) - (now.own - before.own), 0.0) / seconds


@contextlib.contextmanager
def brief_waits() -> Iterator[None]:
    """Let torch's threads wait briefly for one another whenever other programs are busy during the block.

    Nothing happens inside another such block, where the user has chosen how threads wait, and on other
    systems than Linux.
    """
    chosen = any(name in os.environ for name in WAITING)
    if chosen or sys.platform != "linux" or not _watching.acquire(blocking=False):
        yield
        return
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(stop,), name="stconv-brief-waits", daemon=True)
    watch.start()
    try:
        yield
    finally:
        stop.set()
        watch.join()
        _watching.release()


def _watch(stop: threading.Event) -> None:
    """Start idle threads when the machine becomes busy; end them when it is quiet again, and at the stop."""
    import time

    cores = os.sched_getaffinity(0)
    seen, before = time.monotonic(), usage(cores)
    looks = 0
    with contextlib.ExitStack() as idle:
        while not stop.wait(PAUSE_SECONDS):
            at, now = time.monotonic(), usage(cores)
            used, seen, before = others(before, now, at - seen), at, now
            if "torch" not in sys.modules:
                continue
            import torch  # waits for an import that goes on in another thread

            threads = torch.get_num_threads()
            if threads > 1 and used > len(cores) - threads + BUSY_CORES:
                if looks == 0:
                    idle.enter_context(_idle_threads(torch, len(cores) // threads))
                looks = QUIET_LOOKS
            elif looks > 0:
                looks -= 1
                if looks == 0:
                    idle.close()


@contextlib.contextmanager
def _idle_threads(torch: Any, n: int) -> Iterator[None]:
    """Keep `n` more threads, each with as many threads of OpenMP as torch computes with."""
    end = threading.Event()

    def wait() -> None:
        torch.ones(ELEMENTS, device="cpu").add_(1)  # starts the threads of OpenMP
        end.wait()

    made = [threading.Thread(target=wait, name="stconv-idle", daemon=True) for _ in range(max(n, 1))]
    for thread in made:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in made:
            thread.join()
