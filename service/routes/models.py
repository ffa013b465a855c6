"""/v1/models: the served models and their inputs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request

from service.http.keys import require_key
from service.http.models import ModelName, find_model
from service.http.openapi import problems
from service.http.parameters import ONLY_KNOWN
from service.routes.documents import ModelDescription, ModelList
from service.workers.worker import Worker

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(require_key), ONLY_KNOWN])


@router.get("", response_model=ModelList)
async def list_models(request: Request) -> dict[str, Any]:
    """Every model with its version and state."""
    return {"models": [_summary(worker) for worker in request.app.state.workers.values()]}


@router.get("/{name}", response_model=ModelDescription, responses=problems(404))
async def describe_model(request: Request, name: ModelName) -> dict[str, Any]:
    """One model and its input schema: variables, units, grid, step and number of frames."""
    worker = find_model(request, name)
    has_data = bool(request.app.state.settings.data)
    return _summary(worker) | {"data_source": has_data, "input": worker.schema}


def _summary(worker: Worker) -> dict[str, Any]:
    return {
        "name": worker.name,
        "version": worker.version,
        "bundle_sha256": worker.facts.sha256,
        "ready": worker.ready,
        "leads": worker.facts.leads,
        "step": worker.facts.step,
        "href": f"/v1/models/{worker.name}",
    }
