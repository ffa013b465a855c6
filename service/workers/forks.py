"""The server's side of the fork server: parser processes, ready to read."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from service.uploads.fork_server import FORK, PID_BYTES, READY
from service.wire.channel import Garbled, receive_hello, send
from service.wire.parser_messages import ParserLimits
from service.workers.starting import start

START_SECONDS = 60.0
FORK_SECONDS = 10.0


class NoParser(Exception):  # noqa: N818 - an event, handled by the pool
    """No parser process could be started."""


class Parser:
    """One parser process.

    Attributes:
        pid: Process id.
        connection: Pipe to it.
    """

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid, self.connection = pid, connection
        # An id may belong to another process once this one has ended; a descriptor never does.
        self._descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None

    def waits(self) -> bool:
        """Whether the process waits for an upload; one that is dead has closed its end of the pipe."""
        return not self.connection.poll(0)

    def kill(self) -> None:
        """End the process, in whatever state it is."""
        with suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process, and close the pipe to it."""
        self.kill()
        self.connection.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def processor_seconds(self) -> float:
        """Processor time of the process; 0 where it has ended, or the system cannot say.

        Source:
            Linux: clock_getcpuclockid(3), whose clock of a process is (~pid << 3) | 2.
        """
        if not sys.platform.startswith("linux"):
            return 0.0
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0


class Forks:
    """Starts parsers through the fork server, and replaces the fork server when it dies or hangs.

    Args:
        limits: Limits of the parsers.
        target: Function that reads uploads, as MODULE:NAME.
    """

    def __init__(self, limits: ParserLimits, target: str) -> None:
        self._limits, self._target = limits, target
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._one_at_a_time = threading.Lock()

    async def begin(self) -> Parser:
        """Start a parser and wait for its hello.

        Raises:
            NoParser: It did not start, also not with a new fork server.
        """
        for attempt in (1, 2):
            if self._process is None or self._process.poll() is not None:
                self.stop()
                self._process, self._control = start("service.uploads.fork_server", self._target)
            try:
                return await asyncio.to_thread(self._fork)
            except (OSError, EOFError, Garbled) as error:
                self.stop()
                if attempt == 2:
                    raise NoParser(f"{type(error).__name__}: {error}") from error
        raise AssertionError

    def stop(self) -> None:
        """End the fork server, and its parsers with it."""
        process, control, self._process, self._control = self._process, self._control, None, None
        self._ready = False
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            process.wait()

    def _fork(self) -> Parser:
        with self._one_at_a_time:
            control = self._control
            if control is None:
                raise EOFError("the fork server was ended")
            if not self._ready:
                _expect(control, len(READY), START_SECONDS)
                self._ready = True
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(control, [FORK], [theirs.fileno()])
                pid = int.from_bytes(_expect(control, PID_BYTES, FORK_SECONDS), "little")
        connection = Connection(ours.detach())
        try:
            if not connection.poll(FORK_SECONDS):
                raise TimeoutError(f"a parser did not start within {FORK_SECONDS:g} s")
            receive_hello(connection)
            send(connection, self._limits)
            return Parser(pid, connection)
        except BaseException:
            connection.close()
            raise


def _expect(control: socket.socket, n: int, seconds: float) -> bytes:
    control.settimeout(seconds)
    found = control.recv(n, socket.MSG_WAITALL)
    if len(found) != n:
        raise EOFError("the fork server died")
    return found
