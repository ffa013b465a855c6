"""POST /v1/forecasts: a forecast from the client's own fields."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from service.http.intake import Intake
from service.http.key_limits import pay_for_values
from service.http.keys import require_key
from service.http.models import ChosenModel
from service.http.negotiation import answer_type
from service.http.openapi import Answers, problems
from service.http.parameters import ONLY_KNOWN
from service.http.streaming import spooled
from service.http.waiting import while_connected
from service.media_types import COVERAGE, JSON, NETCDF, PNG
from service.problems import NoData
from service.routes.prices import check_price, check_steps
from service.settings import Settings
from service.wire.model_messages import ForecastNewest, ForecastUpload, Form
from service.workers.worker import Worker

router = APIRouter(tags=["forecasts"])

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_MEMBERS = {
    "time": {
        "type": "array",
        "items": {"type": "string"},
        "description": "UTC, like 2014-12-31T18:00:00",
    },
    "calendar": {"type": "string", "default": "standard", "description": "CF calendar"},
    "latitude": _NUMBERS,
    "longitude": _NUMBERS,
    "y": _NUMBERS,
    "x": _NUMBERS,
    "variables": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["values"],
            "properties": {
                "units": {"type": "string"},
                "values": {
                    "type": "array",
                    "items": {},
                    "description": "(time, latitude, longitude); null: missing",
                },
            },
        },
    },
}
_ON_OWN_AXES = {
    "type": "object",
    "required": ["time", "variables"],
    "additionalProperties": False,
    "properties": _MEMBERS,
}
_FURTHER = "Variables under `further` of the model's input, on axes of their own"
_FIELDS = _ON_OWN_AXES | {
    "properties": _MEMBERS | {"further": {"type": "array", "items": _ON_OWN_AXES, "description": _FURTHER}}
}
_EXAMPLE = {
    "time": ["2020-01-10T12:00:00", "2020-01-10T18:00:00"],
    "latitude": [50, 48],
    "longitude": [0, 2, 4],
    "variables": {"t2m": {"units": "K", "values": [[[280.1, 280.4, None], [281, 281.5, 282]]] * 2}},
}
BINARY = {"type": "string", "format": "binary"}
OBJECT = {"schema": {"type": "object"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            NETCDF: {"schema": {"type": "string", "format": "binary"}},
            JSON: {"schema": _FIELDS, "example": _EXAMPLE},
        },
    }
}
NETCDF_KINDS = "Classic (64-bit offsets) up to 1 MiB if the format can hold the forecast, otherwise NetCDF 4"
FORECAST_ANSWERS: Answers = {
    200: {
        "content": {
            NETCDF: {"schema": BINARY | {"description": NETCDF_KINDS}},
            JSON: OBJECT,
            COVERAGE: OBJECT,
            PNG: {"schema": BINARY},
        },
        "description": "Forecast",
    },
    **problems(404, 406, 503, 504),
}

Names = Annotated[
    str | None,
    Query(
        max_length=1000,
        description="Variables to return, comma-separated; default: all. A picture shows the first.",
        examples=["t2m"],
        json_schema_extra={"format": "names"},
    ),
]
Steps = Annotated[
    int | None,
    Query(
        ge=1, le=1_000_000, description="Number of leads; default: the number that the model was trained for."
    ),
]

Bands = Annotated[bool, Query(description="Also return the uncertainty bands, if the model has any.")]


@router.post(
    "/v1/forecasts",
    response_class=Response,
    responses=FORECAST_ANSWERS | problems(408, 415),
    openapi_extra=BODY,
    dependencies=[Depends(require_key), ONLY_KNOWN],
)
async def create_forecast(
    request: Request,
    worker: ChosenModel,
    steps: Steps = None,
    variables: Names = None,
    bands: Bands = True,
) -> Response:
    """Forecast from the newest window of the fields in the body.

    The answer keeps the names, dimension order, conventions and units of the uploaded fields. The variables
    under `further` of the model's input may lie on axes of their own: in NetCDF as they come, in JSON as
    items of `further`.
    """
    settings: Settings = request.app.state.settings
    intake = Intake.announced(request)
    form = Form(intake.media_type, split_names(variables), bands)
    check_steps(worker, steps, settings)
    values = check_price(worker, steps, settings, form.media_type, form.variables, bands)
    await pay_for_values(request, values)
    async with intake.body(worker) as (place, body):
        fields = await intake.parsed(body)
        del body
        asked = ForecastUpload(fields, steps, form)
        answer = await while_connected(request, worker.ask_in_place(place, asked))
    return await spooled(request, answer, model_headers(worker) | answer.headers)


@router.get(
    "/v1/forecasts/latest",
    response_class=Response,
    responses=FORECAST_ANSWERS,
    dependencies=[Depends(require_key), ONLY_KNOWN],
)
async def latest_forecast(
    request: Request,
    worker: ChosenModel,
    steps: Steps = None,
    variables: Names = None,
    bands: Bands = True,
) -> Response:
    """Forecast the whole field from the newest window of the server's own data."""
    settings: Settings = request.app.state.settings
    require_data(settings)
    check_steps(worker, steps, settings)
    media_type = answer_type(request.headers.get("accept"), JSON)
    form = Form(media_type, split_names(variables), bands)
    values = check_price(worker, steps, settings, media_type, form.variables, bands)
    await pay_for_values(request, values)
    asked = ForecastNewest(steps, form)
    answer = await while_connected(request, worker.ask(asked))
    return await spooled(request, answer, model_headers(worker) | answer.headers)


def require_data(settings: Settings) -> None:
    """Refuse a request that needs a data source if there is none.

    Raises:
        NoData: The server has no data source.
    """
    if not settings.data:
        raise NoData(
            "This server has no data of its own. Start it with `--data FILE`, or POST fields to "
            "/v1/forecasts."
        )


def split_names(variables: str | None) -> tuple[str, ...] | None:
    """Parse names from a comma-separated list; None for all."""
    return tuple(name.strip() for name in variables.split(",") if name.strip()) if variables else None


def model_headers(worker: Worker) -> dict[str, str]:
    """Headers that name the model and its version."""
    return {
        "Stconv-Model": worker.name,
        "Stconv-Model-Version": worker.version,
        "Stconv-Bundle-Sha256": worker.facts.sha256,
    }
