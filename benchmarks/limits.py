"""The limits of the machine, and the timing of calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

PAUSE = 0.03
clock = time.perf_counter
"""Seconds; `on_a_shared_machine` takes those of the processor."""


def on_a_shared_machine() -> None:
    """Count the processor's time, of one thread: what others compute meanwhile counts as little as can be."""
    global clock  # noqa: PLW0603
    clock = time.process_time
    torch.set_num_threads(1)


def best_seconds(run: Callable[[], object], at_least: float = 1.0, repeats: int = 5) -> float:
    """Shortest wall time of one call, over at least `repeats` calls and `at_least` seconds.

    The shortest, because whatever else the machine does can only add to a call.
    """
    run()  # warm: allocations, code caches
    best, spent, done = float("inf"), 0.0, 0
    while done < repeats or spent < at_least:
        start = clock()
        run()
        seconds = clock() - start
        best, spent, done = min(best, seconds), spent + seconds, done + 1
    return best


def interleaved(runs: dict[str, Callable[[], object]], rounds: int = 10) -> dict[str, float]:
    """Median wall time of each call, in turns, so that a busy moment of the machine hits them all alike.

    A pause before each call lets the threads of the one before, which wait actively for a while, go to sleep.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def copy_bytes(n_mebibytes: int = 256) -> float:
    """Bytes per second of a memory copy: read plus written."""
    source = torch.ones(n_mebibytes * 2**18)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best_seconds(lambda: target.copy_(source))
