"""Routes of stored forecasts, the observed fields, and the live verification."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from service.archive.table import StoredForecast
from service.http.keys import require_key
from service.http.models import AskedModel, stored_of
from service.http.negotiation import answer_type
from service.http.openapi import problems
from service.http.parameters import ONLY_KNOWN
from service.http.streaming import spooled
from service.http.waiting import while_connected
from service.media_types import JSON
from service.routes.documents import StoredForecastList, Verification
from service.routes.forecasts import FORECAST_ANSWERS, Bands, Names, split_names
from service.routes.prices import check_stored
from service.wire.model_messages import Form, ReadStored, ReadTruth

router = APIRouter(prefix="/v1", tags=["stored forecasts"], dependencies=[Depends(require_key), ONLY_KNOWN])
Reference = Annotated[
    str, Path(max_length=60, description="Reference time, like 2014-12-31T18:00:00Z; .VERSION may follow.")
]
ANSWERS = FORECAST_ANSWERS | problems(410)


@router.get("/forecasts", response_model=StoredForecastList, responses=problems(404))
async def list_forecasts(request: Request, model: AskedModel = None) -> dict[str, Any]:
    """The stored forecasts of a model, oldest reference time first; `earlier` are those of other versions.

    `newest_frame` is the time of the newest observed field; a forecast from it may not be stored yet.
    """
    worker, stored = stored_of(request, model)

    def entries(forecasts: Iterable[StoredForecast]) -> list[dict[str, Any]]:
        return [f.facts() | {"href": f"/v1/forecasts/{f.id}?model={worker.name}"} for f in forecasts]

    return {
        "model": worker.name,
        "zarr": f"/zarr/{worker.name}",
        "newest_frame": stored.newest_frame,
        "forecasts": entries(stored.by_name.values()),
        "earlier": entries(stored.earlier),
    }


@router.get("/forecasts/{reference}", response_class=Response, responses=ANSWERS)
async def stored_forecast(
    request: Request,
    reference: Reference,
    model: AskedModel = None,
    variables: Names = None,
    bands: Bands = True,
) -> Response:
    """A stored forecast; without a version in the address, the one that was stored first from this time."""
    return await _answer(request, ReadStored, reference, model, variables, bands)


@router.get("/forecasts/{reference}/truth", response_class=Response, responses=ANSWERS)
async def truth_of_forecast(
    request: Request, reference: Reference, model: AskedModel = None, variables: Names = None
) -> Response:
    """The observed fields at the valid times of a stored forecast; null where none are available yet."""
    return await _answer(request, ReadTruth, reference, model, variables)


@router.get("/verification", response_model=Verification, responses=problems(404))
async def verification(request: Request, model: AskedModel = None) -> dict[str, Any]:
    """Live verification: error and skill of the stored forecasts for each lead, against the observed fields.

    `skill` is 1 - RMSE / RMSE of the reference; `below` lists the leads whose skill against persistence is
    below the operator's threshold.
    """
    worker, stored = stored_of(request, model)
    return stored.verification or {"model": worker.name, "cases": 0, "variables": {}, "below": []}


async def _answer(
    request: Request,
    kind: type[ReadStored] | type[ReadTruth],
    reference: str,
    model: str | None,
    variables: str | None,
    bands: bool = True,
) -> Response:
    worker, stored = stored_of(request, model)
    found: StoredForecast = stored.get(reference)
    media_type = answer_type(request.headers.get("accept"), JSON)
    form = Form(media_type, split_names(variables), bands)
    check_stored(found, request.app.state.settings, media_type, form.variables)
    asked = kind(str(found.path), form)
    answer = await while_connected(request, worker.ask(asked))
    return await spooled(request, answer, answer.headers)
