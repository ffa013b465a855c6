"""Settings of the C library for keeping memory between training steps or forecasts."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Options of mallopt, as in glibc's malloc.h."""
KEPT_BYTES = 2**30
"""Memory that a process which runs on keeps for the next forecast: what a forecast in one piece may take."""
EVERYTHING = -1


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
