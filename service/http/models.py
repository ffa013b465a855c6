"""Lookup of a served model by the name in the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import Field

from service.archive.table import StoredForecasts
from service.problems import NoData, Unavailable, UnknownModel
from service.workers.worker import Worker

ModelName = Annotated[str, Field(max_length=200, description="Name of the model.")]
AskedModel = Annotated[
    str | None, Query(max_length=200, description="Name of the model; needed where the server has several.")
]


def find_model(request: Request, name: str | None) -> Worker:
    """Return the worker of a model; without a name, the only one.

    Raises:
        UnknownModel: There is no such model, or no name is given and there are several.
    """
    workers: dict[str, Worker] = request.app.state.workers
    if name is None and len(workers) == 1:
        return next(iter(workers.values()))
    if name in workers:
        return workers[name]
    known = ", ".join(sorted(workers)) or "none"
    if name is None:
        raise UnknownModel(
            f"The server has several models. Choose one with ?model=NAME: {known}.", models=sorted(workers)
        )
    raise UnknownModel(f"There is no model {name[:60]!r}; known: {known}.", models=sorted(workers))


def stored_of(request: Request, model: str | None) -> tuple[Worker, StoredForecasts]:
    """Return the worker of a model and its stored forecasts.

    Raises:
        NoData: The server has no data source and therefore stores no forecasts.
        UnknownModel: There is no such model.
    """
    worker = find_model(request, model)
    if worker.name not in request.app.state.stored:
        raise NoData(
            "This server has no data of its own and stores no forecasts. Start it with `--data FILE`."
        )
    return worker, request.app.state.stored[worker.name]


def refuse_while_draining(request: Request) -> None:
    """Refuse new requests while the server drains.

    Raises:
        Unavailable: The server is draining.
    """
    if request.app.state.draining:
        raise Unavailable("The server is shutting down. Try again later.", retry_after_seconds=5)


async def chosen_model(request: Request, model: AskedModel = None) -> Worker:
    """Return the model of `?model=`; a dependency of routes that forecast, refused while draining.

    Raises:
        Unavailable: The server is draining.
        UnknownModel: There is no such model, or no name is given and there are several.
    """
    refuse_while_draining(request)
    return find_model(request, model)


ChosenModel = Annotated[Worker, Depends(chosen_model)]
