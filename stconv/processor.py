"""Threads of a process and how they wait for one another, chosen before torch is loaded.

OpenMP reads both from the environment when torch loads it, and never again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from stconv.containers import ROOT, processor_quota

THREADS = "OMP_NUM_THREADS"
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which a user has chosen how threads wait; stconv then leaves it alone."""
SPINS = "10000"
"""Turns of a loop in which a thread of GNU OpenMP waits for the others before it sleeps (by default 300,000).

On a busy machine the others have lost the processor to another program, and every turn is taken from them.
Without any turn, threads that wait for some microseconds fall asleep, which slows a quiet machine.
`python -m benchmarks.waiting` measures both.
"""


def choose_threads(environment: MutableMapping[str, str] | None = None) -> None:
    """Set the number of threads and their way of waiting in the environment; do nothing once torch is loaded.

    What the user has set stays. Child processes inherit the choice.

    Args:
        environment: Variables to change; default: those of this process.
    """
    if "torch" in sys.modules:
        return
    environment = os.environ if environment is None else environment
    if not any(name in environment for name in WAITING):
        environment["GOMP_SPINCOUNT"] = SPINS
    allowed = available_cores()
    if THREADS not in environment and allowed < (os.cpu_count() or 1):
        environment[THREADS] = str(allowed)


def available_cores(root: Path = ROOT) -> int:
    """Count the cores that this process may use: its affinity, and the quota of its container, rounded down.

    Args:
        root: Root of the file system with `proc` and `sys`.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    quota = processor_quota(root)
    return cores if quota is None else max(min(cores, int(quota)), 1)
