"""POST /v1/admin/models/{name}: load another version of a served model, for keys with the scope `admin`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from service.background.versions import Versions
from service.http.bodies import read_small_json
from service.http.keys import require_admin
from service.http.models import ModelName, find_model
from service.http.openapi import problems
from service.http.parameters import ONLY_KNOWN
from service.media_types import JSON
from service.problems import NotLoaded
from service.routes.documents import SwitchedModel
from service.settings import Settings
from service.telemetry.audit import DETAILS
from service.workers.last_good import REFERENCE, Fetched, fetch, keep
from stconv.errors import BundleError, ServiceError, TrackingError

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(require_admin), ONLY_KNOWN])


class Wanted(BaseModel):
    """The bundle to load: a registered model, or a folder below `STCONV_SERVE_BUNDLES`."""

    model_config = ConfigDict(extra="forbid")

    reference: Annotated[
        str | None,
        Field(pattern=REFERENCE, max_length=400, description="models:/NAME@ALIAS or models:/NAME/VERSION"),
    ] = None
    bundle: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name of a folder")
    ] = None
    sha256: Annotated[
        str | None, Field(pattern="^[0-9a-f]{64}$", description="Expected SHA-256 hash of the bundle")
    ] = None


BODY = {"requestBody": {"required": True, "content": {JSON: {"schema": Wanted.model_json_schema()}}}}


@router.post(
    "/models/{name}",
    response_model=SwitchedModel,
    responses=problems(404, 408, 409, 415, 503),
    openapi_extra=BODY,
)
async def swap_model(request: Request, name: ModelName) -> dict[str, Any]:
    """Load another version of a model, verify its hash, warm it up, and switch to it; no request is lost.

    If it cannot be loaded, the current version stays in use.
    """
    worker, settings = find_model(request, name), request.app.state.settings
    wanted = await read_small_json(request, Wanted, settings.body_seconds)
    before = worker.version
    try:
        found = await _find(wanted, settings)
        versions: Versions = request.app.state.versions
        sha256 = wanted.sha256 or found.sha256 or None
        await versions.switch(worker, Path(found.folder), found.version or None, sha256)
    except (TrackingError, BundleError, ServiceError) as error:
        if not isinstance(error, ServiceError):
            request.app.state.metrics.swaps.labels(worker.name, "failed").inc()
        raise NotLoaded(str(error), version=worker.version) from error
    if wanted.reference is not None:
        await asyncio.to_thread(keep, wanted.reference, found, settings.cache)
    setattr(request.state, DETAILS, {"version": worker.version, "before": before})
    return {
        "name": worker.name,
        "version": worker.version,
        "bundle_sha256": worker.facts.sha256,
        "before": before,
        "instead_of_registry": found.instead_of_registry,
    }


async def _find(wanted: Wanted, settings: Settings) -> Fetched:
    """Fetch the bundle to a local folder.

    Raises:
        TrackingError: The registry has no such model, or it does not answer and no copy was kept.
        BundleError: The files do not match their manifest, or the folder does not exist.
    """
    if (wanted.reference is None) == (wanted.bundle is None):
        raise TrackingError("Give either 'reference' (models:/NAME@ALIAS) or 'bundle' (a folder).")
    if wanted.reference is not None:
        return await fetch(wanted.reference, settings.cache)
    assert wanted.bundle is not None
    if settings.bundles is None or not (settings.bundles / wanted.bundle).is_dir():
        raise BundleError(
            f"There is no bundle {wanted.bundle!r} in the folder that STCONV_SERVE_BUNDLES names. Copy it "
            "there."
        )
    return Fetched(str(settings.bundles / wanted.bundle), "", "")
