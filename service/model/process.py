"""The model process: loads one bundle, then answers requests."""

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
"""Switch interval of threads, s; with Python's default of 5 ms the network would wait too long for other
threads."""
BEHIND_THE_SERVER = 5
"""Niceness of a model process; the server process must be able to answer first, above all refusals."""


def run(connection: Connection, settings: ModelSettings) -> None:
    """Send hello, load and warm up the model, report it, and answer requests until the pipe closes.

    Args:
        connection: Pipe to the server.
        settings: Settings of the model process.
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
        signal.signal(
            number, signal.SIG_IGN
        )  # ignored, because the server drains first and then closes the pipe
    sys.setswitchinterval(SWITCH_SECONDS)
    warnings.simplefilter("ignore")  # unusual input is described in the attributes of the forecast
    os.nice(BEHIND_THE_SERVER)
    keep_freed_memory()
    _name_process("stconv-model")


def _answer_all(connection: Connection, model: LoadedModel, n_threads: int) -> None:
    """Pass each request to a thread, until the pipe closes or `End` arrives."""
    sending = threading.Lock()

    def work(asked: Asked) -> None:
        message = _answered(model, asked)
        with sending, suppress(OSError):  # the server has closed the pipe
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
    """Answer one request and measure the time of each part."""
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
    """Answer one request in this thread's turn; an exception becomes `Refused`.

    Raises:
        RequestGivenUp: The answer is no longer needed.
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
        if isinstance(error, MemoryError) or "allocate memory" in str(
            error
        ):  # PyTorch has no exception type for it
            return _refused(
                ServiceError(
                    "The server does not have enough free memory for this forecast now. Try again later."
                )
            )
        return _refused(ServiceError(NO_ROOM) if disk_is_full(error) else error)


def _refused(error: Exception) -> Refused:
    """The message of a library exception; that of any other exception goes to the log only."""
    return Refused(code_of(error), str(error) if isinstance(error, StconvError) else "")


def _name_process(name: str) -> None:
    """Set the process name that `ps` and `top` show, if the system supports it."""
    comm = Path("/proc/self/comm")
    if comm.exists():
        comm.write_text(name)
