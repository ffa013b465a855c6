"""Liveness and readiness, for orchestrators and load balancers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from service.http.models import refuse_while_draining
from service.http.openapi import problems
from service.http.parameters import ONLY_KNOWN
from service.problems import Unavailable
from service.routes.documents import Alive, Readiness

router = APIRouter(tags=["health"], dependencies=[ONLY_KNOWN])


@router.get("/livez", response_model=Alive)
async def livez() -> dict[str, str]:
    """Liveness: the event loop answers. Models do not count, because a restart would not repair them."""
    return {"status": "alive"}


@router.get("/readyz", response_model=Readiness, responses=problems(503))
async def readyz(request: Request) -> dict[str, Any]:
    """Readiness: every model is loaded and the server is not draining.

    `archive` names faults of the archive, `following` tells how the models follow their aliases, and `tokens`
    why the signing keys of the token provider cannot be read.
    """
    refuse_while_draining(request)
    state = request.app.state
    waiting = {worker.name: worker.trouble for worker in state.workers.values() if not worker.ready}
    if waiting:
        said = ", ".join(f"{name} ({why})" if why else name for name, why in waiting.items())
        raise Unavailable(f"Not loaded: {said}.", retry_after_seconds=5, models=list(waiting))
    faults = {
        name: [f.detail for f in stored.faults] for name, stored in state.stored.items() if stored.faults
    }
    following = {name: alias.state() for name, alias in state.following.items()}
    tokens = state.signing_keys and state.signing_keys.problem
    found = {"status": "ready", "models": sorted(state.workers)}
    details = {"archive": faults, "following": following, "tokens": tokens}
    return found | {name: detail for name, detail in details.items() if detail}
