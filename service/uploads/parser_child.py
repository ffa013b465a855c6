"""The process that reads uploads: limits first, then the parser, then the answer."""

from __future__ import annotations

import gc
import os
import resource
from multiprocessing.connection import Connection

from service.problems import Problem, TooLarge, Unprocessable
from service.uploads.syscalls import restrict_system_calls
from service.wire.channel import Hello, receive, send
from service.wire.parser_messages import Fields, Rejected, ToParser

BEHIND_THE_SERVER = 5
"""Niceness: the server has little to do and everybody waits for it."""
KEPT_BYTES = 2**20
"""A larger upload leaves memory behind that only the end of its process gives back."""


def read_uploads(
    connection: Connection, max_decoded_bytes: int, memory_bytes: int, cpu_seconds: float
) -> None:
    """Say hello, then answer an upload with its fields, or with the reason why not; maybe go on.

    A small upload that Python and Rust read well leaves the process as it was. What the HDF5 library reads,
    which is C code, is the last of its process, and so is what was refused: whoever sent it may try again.

    Args:
        connection: The parent's pipe.
        max_decoded_bytes: Limit for all values of an upload.
        memory_bytes: Address space that parsing may add to what the process has.
        cpu_seconds: Processor time after which it is not kept; after twice that it is killed.
    """
    from service.uploads.rehearsal import parse  # loaded before the fork; the server never loads it

    gc.freeze()
    os.nice(BEHIND_THE_SERVER)
    send(connection, Hello())
    goes_on, limited = True, False
    while goes_on:
        try:
            upload = receive(connection, ToParser)
        except EOFError:
            return
        if not limited:
            limit_resources(memory_bytes, 2 * cpu_seconds)
            restrict_system_calls()
            limited = True
        try:
            fields, untouched = parse(upload, max_decoded_bytes)
        except Exception as error:
            problem = _problem(error, memory_bytes)
            send(connection, Rejected(problem.code, problem.detail, problem.extra))
            return
        goes_on = untouched and len(upload.body) <= KEPT_BYTES and _processor_seconds() < cpu_seconds
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
    """Take from this process what reading bytes does not need: memory, time, files, sockets, core dumps."""
    with open("/proc/self/statm", "rb") as statm:
        address_space = int(statm.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    seconds = int(_processor_seconds() + cpu_seconds) + 1
    for what, limit in {
        resource.RLIMIT_AS: address_space + memory_bytes,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,  # what is open stays open
    }.items():
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))
