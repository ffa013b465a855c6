"""The model process: loads one bundle, then answers requests."""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from service.model.pulse import beat, patience, probe
from service.model.settings import ModelSettings
from service.problems import NO_ROOM, code_of, disk_is_full
from service.wire.channel import Hello, receive, send
from service.wire.child import begin
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
from stconv.allocation import keep_freed_memory
from stconv.errors import ServiceError, StconvError

if TYPE_CHECKING:
    from service.model.loaded import LoadedModel

log = logging.getLogger(__name__)
SWITCH_SECONDS = 0.0002
"""Switch interval of threads, s; with Python's default of 5 ms the network would wait too long for other
threads."""


def main() -> None:
    """Say hello, take the settings, load and warm up the model, and answer until the pipe closes."""
    connection = Connection(begin("stconv-model"))
    sys.setswitchinterval(SWITCH_SECONDS)
    warnings.simplefilter("ignore")  # unusual input is described in the attributes of the forecast
    keep_freed_memory()
    with suppress(EOFError, OSError):  # the server has closed the pipe
        send(connection, Hello())
        settings: ModelSettings = receive(connection, ModelSettings)
        try:
            from service.model.loaded import LoadedModel

            model = LoadedModel(settings)
        except Exception as error:
            send(connection, LoadingFailed(str(error) or type(error).__name__))
            return
        send(connection, Ready(model.forecaster.input_schema(), model.facts, model.forecaster.version))
        _answer_all(connection, model, settings)


def _answer_all(connection: Connection, model: LoadedModel, settings: ModelSettings) -> None:
    """Pass each request to a thread, until the pipe closes or `End` arrives."""
    sending = threading.Lock()

    def say(message: FromModel) -> None:
        with sending, suppress(OSError):  # the server has closed the pipe
            send(connection, message)

    def work(asked: Asked) -> None:
        say(_answered(model, asked))

    for forever in (beat, probe):
        threading.Thread(target=forever, args=(model, settings.hang_seconds, say), daemon=True).start()
    threads = ThreadPoolExecutor(2 * settings.max_batch, thread_name_prefix="request")
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
        with model.batches.turn(asked.number, patience(model, asked.request)) as work:
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
