"""POST /v1/admin/models/{name}: load another version of a served model, for keys with the scope `admin`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from service.http.keys import require_admin
from service.http.models import ModelName, find_model
from service.problems import NotLoaded
from service.settings import Settings
from service.workers.last_good import REFERENCE, Fetched, fetch_apart, keep
from stconv.errors import BundleError, ServiceError, TrackingError

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(require_admin)])


class Wanted(BaseModel):
    """Which bundle to load: one of the registry, or a folder below `STCONV_SERVE_BUNDLES`."""

    model_config = ConfigDict(extra="forbid")

    reference: Annotated[
        str | None,
        Field(pattern=REFERENCE, max_length=400, description="models:/NAME@ALIAS or /VERSION"),
    ] = None
    bundle: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name of a folder")
    ] = None
    sha256: Annotated[
        str | None, Field(pattern="^[0-9a-f]{64}$", description="The hash that the bundle must have")
    ] = None


@router.post("/models/{name}", responses={409: {"description": "Not loaded; the present version stays"}})
async def swap_model(request: Request, name: ModelName, wanted: Wanted) -> dict[str, Any]:
    """Load it beside the present one, verify its hash, warm it up, and switch; no request is lost.

    If it cannot be loaded, the present version stays.
    """
    worker, settings = find_model(request, name), request.app.state.settings
    before = worker.version
    try:
        found = await _find(wanted, settings)
        await worker.swap(Path(found.folder), found.version or None, wanted.sha256 or found.sha256 or None)
    except (TrackingError, BundleError, ServiceError) as error:
        if not isinstance(error, ServiceError):
            request.app.state.metrics.swaps.labels(worker.name, "failed").inc()
        raise NotLoaded(str(error), version=worker.version) from error
    if wanted.reference is not None:
        await asyncio.to_thread(keep, wanted.reference, found, settings.cache)
    return {
        "name": worker.name,
        "version": worker.version,
        "bundle_sha256": worker.schema["bundle_sha256"],
        "before": before,
        "instead_of_registry": found.instead_of_registry,
    }


async def _find(wanted: Wanted, settings: Settings) -> Fetched:
    """Bring the bundle here.

    Raises:
        TrackingError: The registry knows no such model, or does not answer and nothing was kept.
        BundleError: Its files do not fit their manifest, or there is no such folder.
    """
    if (wanted.reference is None) == (wanted.bundle is None):
        raise TrackingError("Say which: either 'reference' (models:/NAME@ALIAS), or 'bundle' (a folder).")
    if wanted.reference is not None:
        return await fetch_apart(wanted.reference, settings.cache)
    assert wanted.bundle is not None
    if settings.bundles is None or not (settings.bundles / wanted.bundle).is_dir():
        raise BundleError(
            f"There is no bundle {wanted.bundle!r} in the folder that STCONV_SERVE_BUNDLES names. "
            "Copy it there."
        )
    return Fetched(str(settings.bundles / wanted.bundle), "", "")
