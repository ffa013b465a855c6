"""Settings of the C library for keeping memory between training steps or forecasts."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Options of mallopt, as in glibc's malloc.h."""
KEPT_BYTES = 2**30
"""Memory that a process which runs on keeps for the next forecast: what a forecast in one piece may take."""
EVERYTHING = -1
TUNABLES, NO_CACHE_OF_PIECES = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"
RESTARTED = "STCONV_RESTARTED"
"""Variable with the process that has been started anew, so that it is once only, also where the system drops
the other variable."""


def keep_freed_memory(kept_bytes: int | None = KEPT_BYTES) -> bool:
    """Keep freed memory for reuse; call before the first thread is started.

    By default glibc takes each array above 32 MiB, or less, from the system and returns it when it is freed,
    and whoever uses the next one pays for thousands of new pages: four tenths of a training step and of a
    forecast on a grid of 512 x 512 cells, nothing on a small one.

    Args:
        kept_bytes: Free memory at the end of the heap that is kept; the rest goes back to the system. None
            keeps everything, for a process that ends with its work.

    Returns:
        Whether it was set; settings of other C libraries are not changed.

    Source:
        glibc manual, 3.2.3.7 Malloc Tunable Parameters; mallopt(3).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        M_MMAP_MAX: 0,  # arrays come from the heap, which is kept, and not from pages of their own
        M_TRIM_THRESHOLD: EVERYTHING if kept_bytes is None else min(kept_bytes, 2**31 - 1),
        M_ARENA_MAX: 1,  # otherwise the computing thread has its own arena, in pieces of 64 MiB
    }
    done = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in settings.items()]
    return all(done)


def joining_freed_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process whose neighboring pieces of freed memory become one piece at once.

    PyTorch asks for addresses that are multiples of 64. glibc cuts them out of larger pieces, and keeps the
    cuttings of some bytes apart, for small objects. What is freed to the left and to the right of one is not
    joined, so that the next large array fits nowhere and the heap grows: for a training step on a grid of
    721 x 1440 cells from 1.5 to 5 GB, within an epoch. Only the environment at the start of a process
    changes that. Other C libraries ignore the variable.

    Args:
        environment: Variables; a number of pieces to keep that the user has set stays.

    Source:
        glibc manual, 38.2 Memory Allocation Tunables.
    """
    set_already = [setting for setting in environment.get(TUNABLES, "").split(":") if setting]
    if any(setting.startswith("glibc.malloc.tcache_count=") for setting in set_already):
        return dict(environment)
    return {**environment, TUNABLES: ":".join([*set_already, NO_CACHE_OF_PIECES])}


def restart_joining_freed_memory() -> None:
    """Start the program of this process anew with `joining_freed_memory`; it keeps its number and its pipes.

    It does nothing in a process that has the variables, or has loaded torch, or has another C library.
    """
    environment, this = joining_freed_memory(os.environ), str(os.getpid())
    done = environment == dict(os.environ) or os.environ.get(RESTARTED) == this
    if done or "torch" in sys.modules or sys.platform != "linux" or not sys.executable:
        return
    if hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, RESTARTED: this})
