"""Start of the processes that work for the server and die with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from stconv.allocation import joining_freed_memory

_BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from importlib import import_module; import_module(sys.argv.pop(1)).main()"
)


def start(module: str, *arguments: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run the function `main` of a module in a process of its own, with a pipe to it.

    It takes some milliseconds. Call it in the thread of the event loop, or in another one that lives as long
    as the server, because the process dies with the thread that started it.

    Args:
        module: Module, whose `main` calls `wire.child.begin`.
        arguments: Further arguments of the process.

    Returns:
        The process, and our end of the pipe.

    Raises:
        OSError: No process can be started.
    """
    ours, theirs = socket.socketpair()
    given = [json.dumps(sys.path), module, str(theirs.fileno()), str(os.getpid()), *arguments]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BEGIN, *given],
            stdin=subprocess.DEVNULL,
            env=joining_freed_memory(os.environ),
            pass_fds=[theirs.fileno()],
        )
    return process, ours
