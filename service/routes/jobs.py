"""/v1/jobs: long forecasts, computed in the background."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import JSONResponse

from service.background.job_store import UNFINISHED, Job
from service.background.jobs import Jobs
from service.http.intake import Intake
from service.http.key_limits import pay_for_values
from service.http.keys import job_owner, require_job_key
from service.http.models import ChosenModel
from service.http.openapi import Answers, problems
from service.http.parameters import ONLY_KNOWN
from service.http.streaming import from_file
from service.problems import TooLarge
from service.routes.documents import JobFacts
from service.routes.forecasts import (
    BODY,
    FORECAST_ANSWERS,
    Bands,
    Names,
    Steps,
    split_names,
)
from service.routes.prices import TEXT, count_values
from service.settings import Settings
from service.wire.model_messages import Form
from stconv.clock import HOUR

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(require_job_key), ONLY_KNOWN])
ACCEPTED: Answers = {
    202: {
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Address of the job."},
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until the first look."},
        }
    }
}
JobId = Annotated[str, Path(max_length=60, description="Id of the job.")]
Key = Annotated[
    str | None, Header(max_length=200, description="Equal requests with the same key create one job only.")
]


@router.post(
    "",
    status_code=202,
    response_class=JSONResponse,
    response_model=JobFacts,
    responses=ACCEPTED | problems(404, 406, 408, 415, 503),
    openapi_extra=BODY,
)
async def submit_job(
    request: Request,
    worker: ChosenModel,
    steps: Steps = None,
    variables: Names = None,
    bands: Bands = True,
    idempotency_key: Key = None,
) -> JSONResponse:
    """Forecast in the background; body and parameters as in POST /v1/forecasts, with a higher limit of steps.

    `Accept` sets the format of the result. The header `Location` of the answer is the URL of the job.
    """
    jobs, intake = _jobs(request), Intake.announced(request)
    leads = steps or worker.facts.leads
    form = Form(intake.media_type, split_names(variables), bands)
    values = count_values(worker, leads, bands)
    _check_size(values, leads, form.media_type, request.app.state.settings)
    await pay_for_values(request, values)
    async with intake.body(worker) as (_, body):
        owner = job_owner(request)
        asked = (owner, worker.name, leads, form, body, idempotency_key)
        job, new = await asyncio.to_thread(jobs.register, *asked)
        if new:
            try:
                await jobs.submit(job, await intake.parsed(body))
            except BaseException:
                await asyncio.to_thread(jobs.forget, job)
                raise
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": "1"}
    return JSONResponse(_facts(request, job), status_code=202, headers=headers)


@router.get("/{job}", response_model=JobFacts, responses=problems(404, 410))
async def job_status(request: Request, response: Response, job: JobId) -> dict[str, Any]:
    """Status and progress of a job."""
    found = await _find(request, job)
    if found.status in UNFINISHED:
        response.headers["Retry-After"] = "1"
    return _facts(request, found)


@router.get(
    "/{job}/result",
    response_class=Response,
    responses=FORECAST_ANSWERS | problems(404, 409, 410, 503, 504),
)
async def job_result(request: Request, job: JobId) -> Response:
    """The forecast of a finished job; 409 before it is finished, 410 once it is removed."""
    found = await _find(request, job)
    result = await asyncio.to_thread(_jobs(request).result, found)
    return from_file(request, result, found.media_type, found.headers or {})


@router.delete("/{job}", response_model=JobFacts, responses=problems(404, 410))
async def cancel_job(request: Request, job: JobId) -> dict[str, Any]:
    """Stop a job, or delete its result."""
    found = await _find(request, job)
    await asyncio.to_thread(_jobs(request).cancel, found)
    return _facts(request, found)


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


async def _find(request: Request, key: str) -> Job:
    return await asyncio.to_thread(_jobs(request).get, job_owner(request), key)


def _facts(request: Request, job: Job) -> dict[str, Any]:
    settings: Settings = request.app.state.settings
    return job.facts(HOUR.seconds * settings.job_hours)


def _check_size(values: int, steps: int, media_type: str, settings: Settings) -> None:
    text = media_type in TEXT
    most_values = min(settings.max_job_values, settings.max_text_values) if text else settings.max_job_values
    for found, limit, what in (
        (steps, settings.max_job_steps, "steps"),
        (values, most_values, "values as text" if text else "values"),
    ):
        if found > limit:
            raise TooLarge(
                f"The job would have {found} {what}; at most {limit} are allowed. Request fewer steps"
                f"{', or NetCDF' if text else ''}.",
                found=found,
                limit=limit,
            )
