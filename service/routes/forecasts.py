"""POST /v1/forecasts: a forecast from the client's own fields."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from service.http.intake import Intake
from service.http.keys import require_key
from service.http.models import ChosenModel
from service.http.negotiation import answer_type
from service.http.waiting import while_connected
from service.media_types import COVERAGE, JSON, NETCDF, PNG
from service.problems import NoData, TooLarge, Unprocessable
from service.settings import Settings
from service.wire.model_messages import ForecastNewest, ForecastUpload, Form
from service.workers.worker import Worker

router = APIRouter(tags=["forecasts"])

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_FIELDS = {
    "type": "object",
    "required": ["time", "variables"],
    "additionalProperties": False,
    "properties": {
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
    },
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            NETCDF: {"schema": {"type": "string", "format": "binary"}},
            JSON: {"schema": _FIELDS},
        },
    }
}
NETCDF_KINDS = "Classic (64-bit offsets) up to 1 MiB if the format can hold the forecast, otherwise NetCDF 4"
FORECAST_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            NETCDF: {"schema": {"type": "string", "format": "binary", "description": NETCDF_KINDS}},
            JSON: {},
            COVERAGE: {},
            PNG: {"schema": {"type": "string", "format": "binary"}},
        },
        "description": "Forecast",
    },
    422: {
        "description": "The fields do not fit the model; `detail` names the variable, grid, units or shape"
    },
}

Names = Annotated[
    str | None,
    Query(
        max_length=1000,
        description="Variables to return, comma-separated; default: all. A picture shows the first.",
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
    responses=FORECAST_ANSWERS,
    openapi_extra=BODY,
    dependencies=[Depends(require_key)],
)
async def create_forecast(
    request: Request,
    worker: ChosenModel,
    steps: Steps = None,
    variables: Names = None,
    bands: Bands = True,
) -> Response:
    """Forecast from the newest window of the fields in the body.

    The answer keeps the names, dimension order, conventions and units of the uploaded fields.
    """
    settings: Settings = request.app.state.settings
    intake = Intake.announced(request)
    check_steps(steps, settings)
    worker.require_room()
    async with intake.body() as body:
        with worker.place():
            fields = await intake.parsed(body)
            del body
            check_price(worker, steps, settings, intake.media_type, bands)
            form = Form(intake.media_type, split_names(variables), bands)
            asked = ForecastUpload(fields, steps, form)
            answer = await while_connected(request, worker.ask_in_place(asked))
    return Response(answer.body, media_type=answer.media_type, headers=model_headers(worker) | answer.headers)


@router.get(
    "/v1/forecasts/latest",
    response_class=Response,
    responses=FORECAST_ANSWERS,
    dependencies=[Depends(require_key)],
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
    check_steps(steps, settings)
    media_type = answer_type(request.headers.get("accept"), JSON)
    check_price(worker, steps, settings, media_type, bands)
    asked = ForecastNewest(steps, Form(media_type, split_names(variables), bands))
    answer = await while_connected(request, worker.ask(asked))
    return Response(answer.body, media_type=answer.media_type, headers=model_headers(worker) | answer.headers)


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


def check_steps(steps: int | None, settings: Settings) -> None:
    """Refuse a request for more leads than the limit.

    Raises:
        Unprocessable: The request exceeds the limit.
    """
    if steps is not None and steps > settings.max_steps:
        raise Unprocessable(
            f"{steps} steps were requested; at most {settings.max_steps} are allowed.",
            kind="steps",
            steps=steps,
            limit=settings.max_steps,
        )


def model_headers(worker: Worker) -> dict[str, str]:
    """Headers that name the model and its version."""
    return {
        "Stconv-Model": worker.name,
        "Stconv-Model-Version": worker.version,
        "Stconv-Bundle-Sha256": str(worker.schema.get("bundle_sha256", "")),
    }


def check_price(
    worker: Worker, steps: int | None, settings: Settings, media_type: str = NETCDF, bands: bool = True
) -> None:
    """Refuse a forecast with too many values before it is computed; text formats have a lower limit.

    Raises:
        TooLarge: The forecast exceeds the limit.
    """
    values = count_values(worker, steps or worker.schema["leads"], bands)
    text = media_type in (JSON, COVERAGE)
    limit = min(settings.max_output_values, settings.max_text_values if text else settings.max_output_values)
    if values > limit:
        raise TooLarge(
            f"The forecast would have {values} values; at most {limit} are allowed{' as text' * text}. "
            f"Request fewer steps{', or NetCDF' * text}.",
            values=values,
            limit=limit,
        )


def count_values(worker: Worker, leads: int, bands: bool = True) -> int:
    """Number of values of a forecast: cells x leads x variables."""
    grid = worker.schema["grid"]
    cells = math.prod(grid[dim]["size"] for dim in grid["dims"])
    variables = len(worker.schema["targets"]) * (1 + bands * len(worker.schema["bands"]))
    return leads * variables * cells
