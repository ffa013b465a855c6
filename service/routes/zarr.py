"""/zarr: the stored forecasts as read-only Zarr 3, for `xarray.open_zarr(URL)`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath

from service.archive.soundness import METADATA
from service.archive.table import ForecastGone, StoredForecast, StoredForecasts, UnknownForecast
from service.archive.zarr_view import BETWEEN, find_file, find_group, tree_metadata
from service.http.keys import require_key
from service.http.models import ModelName, stored_of
from service.http.openapi import Answers, problems
from service.http.parameters import ONLY_KNOWN
from service.http.streaming import from_file
from service.problems import NoData, Unavailable, UnknownModel
from service.routes.documents import ZarrStoreList, ZarrStores
from service.routes.forecasts import BINARY

log = logging.getLogger(__name__)
router = APIRouter(prefix="/zarr", tags=["zarr"], dependencies=[Depends(require_key), ONLY_KNOWN])
FILES: Answers = {
    200: {"content": {"application/octet-stream": {"schema": BINARY}, "application/json": {}}},
}
READ = ["GET", "HEAD"]
FOREVER = "private, max-age=3600, immutable"
"""Only for an address with a version."""
Group = Annotated[str, InPath(max_length=80, description="Reference time, or `FIRST--LAST`; and `.VERSION`.")]
Key = Annotated[str, InPath(max_length=300, description="Key of the Zarr store.")]


@router.get("", response_model=ZarrStoreList)
async def list_stores(request: Request) -> dict[str, Any]:
    """The Zarr stores of every model."""
    return {"models": [_stores(name, stored) for name, stored in request.app.state.stored.items()]}


@router.get("/{model}", response_model=ZarrStores, responses=problems(404))
async def list_model_stores(request: Request, model: ModelName) -> dict[str, Any]:
    """The Zarr stores of one model: one for each forecast, and one that joins them by reference time."""
    worker, stored = stored_of(request, model)
    return _stores(worker.name, stored)


@router.api_route(f"/{{model}}/{METADATA}", methods=READ, response_class=Response, include_in_schema=False)
async def tree(request: Request, model: ModelName) -> Response:
    """All forecasts of one model as a tree, for `xarray.open_datatree`."""
    _, stored = stored_of(request, model)
    return Response(json.dumps(tree_metadata(stored)), media_type="application/json")


@router.get(
    "/{model}/{group}/{key:path}",
    response_class=Response,
    responses=FILES | problems(404, 410, 503),
)
@router.head("/{model}/{group}/{key:path}", response_class=Response, include_in_schema=False)
async def read_key(request: Request, model: ModelName, group: Group, key: Key) -> Response:
    """A file of a Zarr store."""
    try:
        _, stored = stored_of(request, model)
        forecasts = find_group(stored, group)
    except (UnknownForecast, UnknownModel, NoData) as error:
        if "/c/" not in key and not key.endswith("/c"):
            raise
        # A client that asks for a chunk has opened the store before; xarray would read 404 as missing values.
        raise ForecastGone(f"This forecast is no longer stored. {error.detail}") from None
    found = find_file(forecasts, BETWEEN in group, key)
    try:
        opened = await asyncio.to_thread(found.open, "rb") if isinstance(found, Path) else None
    except FileNotFoundError:
        raise ForecastGone("The forecast expired and was removed.") from None
    except OSError as error:
        log.error("a stored forecast cannot be read: %s", error)
        raise Unavailable("The stored forecast cannot be read now.", retry_after_seconds=60) from None
    kind = "application/json" if key.endswith(METADATA) else "application/octet-stream"
    headers = {"Cache-Control": FOREVER if stored.split(group)[1] else "no-cache"}
    if opened is not None:
        return from_file(request, opened, kind, headers)
    return Response(found, media_type=kind, headers=headers)


def _stores(model: str, stored: StoredForecasts) -> dict[str, Any]:
    base, names = f"/zarr/{model}", list(stored.by_name)

    def entries(forecasts: Iterable[StoredForecast]) -> list[dict[str, Any]]:
        return [forecast.facts() | {"href": f"{base}/{forecast.id}"} for forecast in forecasts]

    return {
        "model": model,
        "all": f"{base}/{names[0]}{BETWEEN}{names[-1]}.{stored.version}" if names else None,
        "forecasts": entries(stored.by_name.values()),
        "earlier": entries(stored.earlier),
    }
