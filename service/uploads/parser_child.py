"""The parser process: it restricts itself, reads an upload, and answers."""

from __future__ import annotations

import os
import resource
from multiprocessing.connection import Connection

from service.problems import Problem, TooLarge, Unprocessable
from service.uploads.syscalls import restrict_system_calls
from service.wire.channel import Hello, receive, send
from service.wire.parser_messages import Fields, ParserLimits, Rejected, ToParser

KEPT_BYTES = 2**20
"""Size of an upload, bytes, above which its process ends, because only that frees its memory."""


def read_uploads(connection: Connection) -> None:
    """Send hello, take the limits, then answer each upload with its fields or the reason for its refusal.

    After a small upload that memory-safe Python or Rust code accepted, the process reads another one. It ends
    after an upload that the HDF5 library read, which is C code, and after a refused one, which may be an
    attack.

    Args:
        connection: Pipe to the server.
    """
    from service.uploads.rehearsal import (
        parse,
    )  # loaded in the fork server; the server process never loads it

    send(connection, Hello())
    try:
        limits: ParserLimits = receive(connection, ParserLimits)
    except EOFError:
        return
    goes_on, limited = True, False
    while goes_on:
        try:
            upload = receive(connection, ToParser)
        except EOFError:
            return
        if not limited:
            limit_resources(limits.memory_bytes, 2 * limits.cpu_seconds)
            restrict_system_calls()
            limited = True
        try:
            fields, untouched = parse(upload, limits.max_decoded_bytes)
        except Exception as error:
            problem = _problem(error, limits.memory_bytes)
            send(connection, Rejected(problem.code, problem.detail, problem.extra))
            return
        goes_on = untouched and len(upload.body) <= KEPT_BYTES and _processor_seconds() < limits.cpu_seconds
        send(connection, Fields(fields, goes_on))


def _problem(error: Exception, memory_bytes: int) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, MemoryError):
        said = f"Reading the upload takes more than {memory_bytes} bytes of memory."
        return TooLarge(said, limit_bytes=memory_bytes)
    return Unprocessable(f"The upload cannot be read: {error}", kind="unreadable")


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def limit_resources(memory_bytes: int, cpu_seconds: float) -> None:
    """Restrict memory, processor time, files, sockets and core dumps of this process."""
    with open("/proc/self/statm", "rb") as statm:
        address_space = int(statm.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    seconds = int(_processor_seconds() + cpu_seconds) + 1
    for what, limit in {
        resource.RLIMIT_AS: address_space + memory_bytes,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,  # files that are open stay open
    }.items():
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))
