"""Parsers that a hostile file has taken over; the fork server runs them in place of the real one."""

from __future__ import annotations

import errno
import os
import platform
import signal

import numpy as np

from service.wire.channel import Hello, receive, send
from service.wire.parser_messages import Fields, ParserLimits, Rejected, ToParser


def take(connection):
    """Say hello and take the limits and an upload, as a parser does."""
    send(connection, Hello())
    receive(connection, ParserLimits)
    receive(connection, ToParser)


def hostile(connection):
    """In place of the parser: report what the process is still able to do."""
    import ctypes
    import socket

    from service.uploads.parser_child import limit_resources
    from service.uploads.syscalls import restrict_system_calls

    take(connection)
    limit_resources(200 * 2**20, 2)
    done = [] if restrict_system_calls() else ["no filter here"]
    ptrace, prctl, execve = (101, 157, 59) if platform.machine() == "x86_64" else (117, 167, 221)
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number):
        if libc.syscall(number, 0, 0, 0, 0) == -1 and ctypes.get_errno() == errno.EPERM:
            raise PermissionError

    for name, attempt in {
        "signal the server": lambda: os.kill(os.getppid(), 0),
        "fork": lambda: os.fork() or os._exit(0),
        "remove": lambda: os.unlink("/tmp/nothing"),
        "look": lambda: os.stat("/etc/passwd"),
        "rename": lambda: os.rename("/tmp/nothing", "/tmp/else"),
        "ptrace": lambda: call(ptrace),
        "prctl": lambda: call(prctl),
        "execve": lambda: call(execve),
        "other table of calls": lambda: call(0x40000000 + 1),
        "open": lambda: os.open("/etc/hostname", os.O_RDONLY),
        "socket": socket.socket,
        "pipe": os.pipe,
        "memory": lambda: np.ones(10**9),
    }.items():
        try:
            attempt()
        except (PermissionError, MemoryError):
            continue
        except OSError as error:
            if error.errno == errno.EMFILE:
                continue
        done.append(name)
    send(connection, Fields(",".join(done).encode(), goes_on=False))


def endless(connection):
    from service.uploads.parser_child import limit_resources

    take(connection)
    limit_resources(2**30, 1)
    while True:
        pass


def garbling(connection):
    take(connection)
    connection.send_bytes(b'{"type": "Fields", "fields": null, "goes_on": "for ever"}')
    connection.send_bytes(b"")


def crashing(connection):
    take(connection)
    os.kill(os.getpid(), signal.SIGKILL)


def spinning(connection):
    """In place of the parser: a library that does not return."""
    take(connection)
    while True:
        pass


def flooding_fields(connection):
    """Fields whose header is said to have a terabyte."""
    take(connection)
    send(connection, Fields((2**40).to_bytes(8, "little") + b"{}", goes_on=True))


def flooding_words(connection):
    """A refusal in a million letters."""
    take(connection)
    send(connection, Rejected("unprocessable", "x" * 10**6, {}))
