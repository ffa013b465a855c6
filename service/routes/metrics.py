"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.http.keys import known_key
from service.http.openapi import Answers
from service.http.parameters import ONLY_KNOWN

ANSWERS: Answers = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
router = APIRouter(tags=["health"], dependencies=[Depends(known_key), ONLY_KNOWN])


@router.get("/metrics", response_class=Response, responses=ANSWERS)
async def metrics(request: Request) -> Response:
    """Metrics of the service in the text format of Prometheus."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
