"""The process that reads one upload and ends: limits first, then the parser, then the answer."""

from __future__ import annotations

import gc
import json
import os
import resource
from multiprocessing.connection import Connection

from service.problems import Problem, TooLarge, Unprocessable
from service.syscalls import restrict_system_calls


def read_one_upload(
    connection: Connection, max_decoded_bytes: int, memory_bytes: int, cpu_seconds: float
) -> None:
    """Wait for a kind and a body, parse it under limits, answer `ok` or `problem`, and end.

    Args:
        connection: The parent's pipe.
        max_decoded_bytes: Limit for all values of the upload.
        memory_bytes: Address space the parse may add to what the process has.
        cpu_seconds: Processor time of the parse.
    """
    from service.rehearsal import PARSERS  # loaded before the fork; the server itself never loads it

    gc.freeze()
    connection.send_bytes(b"waiting")
    try:
        kind = connection.recv_bytes().decode()
        body = connection.recv_bytes()
    except EOFError:
        return
    limit_resources(memory_bytes, cpu_seconds)
    restrict_system_calls()
    try:
        answer = PARSERS[kind](body, max_decoded_bytes)
    except Problem as problem:
        _refuse(connection, problem)
    except MemoryError:
        _refuse(
            connection,
            TooLarge(
                f"Reading the upload takes more than {memory_bytes} bytes of memory.",
                limit_bytes=memory_bytes,
            ),
        )
    except Exception as error:
        _refuse(connection, Unprocessable(f"The upload can not be read: {error}", kind="unreadable"))
    else:
        connection.send_bytes(b"ok")
        connection.send_bytes(answer)


def _refuse(connection: Connection, problem: Problem) -> None:
    connection.send_bytes(b"problem")
    facts = {"problem": type(problem).__name__, "detail": problem.detail, "extra": problem.extra}
    connection.send_bytes(json.dumps(facts).encode())


def limit_resources(memory_bytes: int, cpu_seconds: float) -> None:
    """Take from this process what reading bytes does not need: memory, time, files, sockets, core dumps."""
    with open("/proc/self/statm", "rb") as statm:
        address_space = int(statm.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + cpu_seconds) + 1
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
