"""The process that parsers are forked from: it has imported all that they need, and has one thread."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from importlib import import_module
from multiprocessing.connection import Connection

from service.wire.child import begin, behave

PID_BYTES = 8
READY, FORK = b"r", b"f"


def main() -> None:
    """Fork a parser for each pipe that the server sends, and answer with its process id.

    The argument names the module and the function that read uploads.
    """
    control = socket.socket(fileno=begin("stconv-forks"))
    module, _, function = sys.argv[3].partition(":")
    read = getattr(import_module(module), function)
    import_module("service.uploads.rehearsal")  # what a parser would import; the server never loads it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a parser; the kernel forgets it
    gc.collect()
    gc.freeze()
    control.sendall(READY)
    server = os.getpid()
    while True:
        asked, (*pipes,), _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return
        pid = os.fork()
        if pid == 0:
            try:
                control.close()
                behave("stconv-parser", server)
                read(Connection(pipes[0]))
            finally:
                os._exit(0)
        os.close(pipes[0])
        control.sendall(pid.to_bytes(PID_BYTES, "little"))
