"""Finding a served model by the name a client gives."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import Field

from service.archive.table import StoredForecasts
from service.problems import NoData, Unavailable, UnknownModel
from service.workers.worker import Worker

ModelName = Annotated[str, Field(max_length=200)]


def find_model(request: Request, name: str | None) -> Worker:
    """The worker of a model; the only one if no name is given.

    Raises:
        UnknownModel: No such model, or none named where there are several.
    """
    workers: dict[str, Worker] = request.app.state.workers
    if name is None and len(workers) == 1:
        return next(iter(workers.values()))
    if name in workers:
        return workers[name]
    known = ", ".join(sorted(workers)) or "none"
    if name is None:
        raise UnknownModel(f"Say which model: ?model=NAME, one of: {known}.", models=sorted(workers))
    raise UnknownModel(f"No model {name[:60]!r} is served; known: {known}.", models=sorted(workers))


def stored_of(request: Request, model: str | None) -> tuple[Worker, StoredForecasts]:
    """A model and its stored forecasts.

    Raises:
        NoData: The server has no data source, so that nothing is stored.
        UnknownModel: No such model.
    """
    worker = find_model(request, model)
    if worker.name not in request.app.state.stored:
        raise NoData("Nothing is stored: this server has no data of its own. Start it with `--data FILE`.")
    return worker, request.app.state.stored[worker.name]


def refuse_while_draining(request: Request) -> None:
    """Leave new work to the next server.

    Raises:
        Unavailable: The server is draining.
    """
    if request.app.state.draining:
        raise Unavailable("The server is draining; ask again.", retry_after_seconds=5)


async def chosen_model(request: Request, model: ModelName | None = None) -> Worker:
    """The model of `?model=`, as a dependency of routes that forecast: refused while draining.

    Raises:
        Unavailable: The server is draining.
        UnknownModel: As `find_model`.
    """
    refuse_while_draining(request)
    return find_model(request, model)


ChosenModel = Annotated[Worker, Depends(chosen_model)]
