"""Is the process alive, and does it want requests: for orchestrators and load balancers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from service.http.models import refuse_while_draining
from service.problems import Unavailable

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The event loop answers. Says nothing of the models: restarting the process would not mend them."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, Any]:
    """Every model is loaded and the server is not draining."""
    refuse_while_draining(request)
    state = request.app.state
    waiting = [worker.name for worker in state.workers.values() if not worker.ready]
    if waiting:
        raise Unavailable(f"Not loaded: {', '.join(waiting)}.", retry_after_seconds=5, models=waiting)
    return {"status": "ready", "models": sorted(state.workers)}
