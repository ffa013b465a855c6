"""Settings of the C library for keeping memory between training steps or forecasts."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Options of mallopt, as in glibc's malloc.h."""
KEPT_BYTES = 128 * 2**20
LARGEST_KEPT_BYTES = 32 * 2**20
"""Largest threshold that glibc accepts."""


def keep_freed_memory() -> bool:
    """Keep up to 128 MiB of freed memory for reuse; call before the first thread is started.

    By default glibc returns each large array to the system when it is freed, and the next step pays for
    thousands of new pages: a tenth of a training step, a fifth of a batch of forecasts.

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
        M_MMAP_THRESHOLD: LARGEST_KEPT_BYTES,
        M_TRIM_THRESHOLD: KEPT_BYTES,
        M_ARENA_MAX: 1,  # otherwise the computing thread has its own arena, in pieces of 64 MiB
    }
    done = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in settings.items()]
    return all(done)
