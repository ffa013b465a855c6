"""The process that a model runs in: loads one bundle, then answers one request after the other."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.model.settings import ModelSettings
from service.problems import NO_ROOM, code_of, disk_is_full
from service.wire.channel import Hello, receive, send
from service.wire.model_messages import (
    Answered,
    AnyAnswer,
    Asked,
    End,
    FromModel,
    GivenUp,
    GiveUp,
    LoadingFailed,
    Ready,
    Refused,
    Spent,
    ToModel,
)
from stconv.compute.allocation import keep_freed_memory
from stconv.errors import ServiceError, StconvError

if TYPE_CHECKING:
    from service.model.loaded import LoadedModel

log = logging.getLogger(__name__)
SWITCH_SECONDS = 0.0002
"""With Python's default of 5 ms, every operation of the network would wait as long for the other threads."""
BEHIND_THE_SERVER = 5
"""Niceness: the server has little to do and everybody waits for it, a refusal most of all."""


def run(connection: Connection, settings: ModelSettings) -> None:
    """Say hello, load, warm up, say so, and answer until the pipe closes.

    Args:
        connection: The server's pipe.
        settings: Which model, and how.
    """
    _behave_as_a_child()
    send(connection, Hello())
    try:
        from service.model.loaded import LoadedModel

        model = LoadedModel(settings)
    except Exception as error:
        send(connection, LoadingFailed(str(error) or type(error).__name__))
        return
    send(connection, Ready(model.forecaster.input_schema(), model.forecaster.version))
    _answer_all(connection, model, n_threads=2 * settings.max_batch)


def _behave_as_a_child() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server drains first, then closes the pipe
    sys.setswitchinterval(SWITCH_SECONDS)
    warnings.simplefilter("ignore")  # an unusual input is described in the forecast
    os.nice(BEHIND_THE_SERVER)
    keep_freed_memory()
    _name_process("stconv-model")


def _answer_all(connection: Connection, model: LoadedModel, n_threads: int) -> None:
    """Give each request to a thread, until the pipe closes or nothing more will be asked."""
    sending = threading.Lock()

    def work(asked: Asked) -> None:
        message = _answered(model, asked)
        with sending, suppress(OSError):  # the server has left
            send(connection, message)

    threads = ThreadPoolExecutor(n_threads, thread_name_prefix="request")
    with suppress(EOFError, OSError):
        while not isinstance(message := receive(connection, ToModel), End):
            if isinstance(message, GiveUp):
                model.batches.give_up(message.number)
            else:
                model.batches.announce(message.number)
                threads.submit(work, message)
            del message
    threads.shutdown(wait=False, cancel_futures=True)


def _answered(model: LoadedModel, asked: Asked) -> FromModel:
    """Answer one request, with the seconds that its parts took."""
    from service.model.batching import RequestGivenUp

    came = time.perf_counter()
    try:
        with model.batches.turn(asked.number) as work:
            began = time.perf_counter()
            answer = answer_request(model, asked.request)
            ended = time.perf_counter()
    except RequestGivenUp:
        return GivenUp(asked.number)
    seconds = ended - began - work.forecast_seconds
    return Answered(
        asked.number, answer, Spent(began - came, work.forecast_seconds, seconds, work.windows_in_batch)
    )


def answer_request(model: LoadedModel, request: Any) -> AnyAnswer:
    """Answer one request in this thread's turn; what it raises becomes `Refused`.

    Raises:
        RequestGivenUp: Nobody waits for the answer any more.
    """
    from service.model.batching import RequestGivenUp
    from service.model.handlers import HANDLERS

    try:
        return HANDLERS[type(request)](model, request)
    except RequestGivenUp:
        raise
    except StconvError as error:
        return _refused(error)
    except Exception as error:
        name = type(request).__name__
        log.exception("%s failed", name)
        print(f"stconv: {name} failed: {error!r}", file=sys.stderr, flush=True)
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # PyTorch has no type for it
            return _refused(ServiceError("There is not enough memory for this forecast now."))
        return _refused(ServiceError(NO_ROOM) if disk_is_full(error) else error)


def _refused(error: Exception) -> Refused:
    """The words of our own exceptions; those of others stay in the log."""
    return Refused(code_of(error), str(error) if isinstance(error, StconvError) else "")


def _name_process(name: str) -> None:
    """Say what `ps` and `top` are to show, where the system lets a process say it."""
    comm = Path("/proc/self/comm")
    if comm.exists():
        comm.write_text(name)
