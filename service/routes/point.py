"""GET /v1/forecast: the forecast of one point from the server's own data, in the form of Open-Meteo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from service.http.key_limits import pay_for_values
from service.http.keys import require_key
from service.http.models import ChosenModel
from service.http.openapi import problems
from service.http.parameters import ONLY_KNOWN
from service.http.waiting import while_connected
from service.routes.documents import PointForecast
from service.routes.forecasts import (
    Bands,
    Names,
    Steps,
    model_headers,
    require_data,
    split_names,
)
from service.routes.prices import check_computed, check_steps
from service.wire.model_messages import ForecastPoint

router = APIRouter(tags=["forecasts"], dependencies=[Depends(require_key), ONLY_KNOWN])


@router.get(
    "/v1/forecast",
    response_model=PointForecast,
    responses=problems(404, 503, 504),
)
async def forecast_point(
    request: Request,
    worker: ChosenModel,
    latitude: Annotated[float, Query(ge=-90, le=90, description="Degrees north.", examples=[44.6])],
    longitude: Annotated[
        float, Query(ge=-180, le=360, description="Degrees east, -180 to 180 or 0 to 360.", examples=[4.9])
    ],
    variables: Names = None,
    steps: Steps = None,
    bands: Bands = True,
) -> Response:
    """Forecast the cell that contains a point, from the newest window of the server's own data.

    `latitude` and `longitude` in the answer are those of the cell.
    """
    settings = request.app.state.settings
    require_data(settings)
    check_steps(worker, steps, settings)
    await pay_for_values(request, check_computed(worker, steps, settings))
    asked = ForecastPoint(latitude, longitude, steps, split_names(variables), bands)
    answer = await while_connected(request, worker.ask(asked))
    return Response(answer.body, media_type=answer.media_type, headers=model_headers(worker) | answer.headers)
