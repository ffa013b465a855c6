"""The beginning of a process of the service: its end of the pipe, its name, and whom it dies with."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
BEHIND_THE_SERVER = 5
"""Niceness of all processes but the server, which must be able to answer first, above all refusals."""


def begin(name: str) -> int:
    """Take up the pipe that `workers.starting.start` made; the process dies with its server from now on.

    Returns:
        Descriptor of this end of the pipe.
    """
    descriptor, server = map(int, sys.argv[1:3])
    behave(name, server)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_IGN
        )  # ignored, because the server drains first and then closes the pipe
    os.nice(BEHIND_THE_SERVER)
    return descriptor


def behave(name: str, parent: int) -> None:
    """Let the kernel kill this process when its parent ends, and set the name that `ps` and `top` show.

    A process that is stopped, or that never returns from a library, dies as well. Elsewhere than on Linux a
    process ends when it finds its pipe closed.

    Args:
        name: At most 15 bytes.
        parent: Process id of the parent, which may have ended already.

    Source:
        Linux: PR_SET_PDEATHSIG(2const). The signal is sent when the thread ends that started the process, so
        that only threads that live as long as their process may start one.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    Path("/proc/self/comm").write_text(name)
