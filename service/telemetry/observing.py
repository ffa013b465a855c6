"""Observation of requests: id, JSON log line, Server-Timing header, and spans.

Spans need `pip install stconv[opentelemetry]`; without it only the times are recorded.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

try:
    from opentelemetry import context as otel_context
    from opentelemetry import propagate, trace

    _tracer = trace.get_tracer("stconv.service")
except ImportError:  # the extra is not installed
    _tracer = None  # type: ignore[assignment]

log = logging.getLogger("stconv.access")
SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
"""Pattern of a proxy's request id that is kept, because it cannot forge a log line."""
request_id: ContextVar[str] = ContextVar("request_id", default="")
_seconds: ContextVar[dict[str, float] | None] = ContextVar("seconds", default=None)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Time a part of a request, for Server-Timing, the log and a span."""
    began = time.perf_counter()
    try:
        yield
    finally:
        note(name, time.perf_counter() - began)


def note(name: str, seconds: float) -> None:
    """Record a part that just ended and was timed elsewhere, such as in the model process; see `part`."""
    noted = _seconds.get()
    if noted is None:
        return
    noted[name] = noted.get(name, 0.0) + seconds
    if _tracer is not None:
        now = time.time_ns()
        _tracer.start_span(name, start_time=now - int(seconds * 1e9)).end(now)


class Observe:
    """ASGI middleware that gives every request an id and logs one line when it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add `X-Request-ID` and `Server-Timing` to the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identity = given if SAFE_ID.fullmatch(given) else secrets.token_hex(8)
        noted: dict[str, float] = {}
        request_id.set(identity)
        _seconds.set(noted)
        began, status = time.perf_counter(), 500

        async def observing_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Request-ID"] = identity
                total = {"total": time.perf_counter() - began}
                answer["Server-Timing"] = ", ".join(
                    f"{name};dur={1000 * seconds:.1f}" for name, seconds in (noted | total).items()
                )
            await send(message)

        with _span(scope, headers) as span:
            try:
                await self.app(scope, receive, observing_send)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                span.update(route=route, status=status)
                facts = {"method": scope["method"], "path": scope["path"], "route": route, "status": status}
                spent = {name: round(seconds, 4) for name, seconds in noted.items()}
                total_seconds = round(time.perf_counter() - began, 4)
                log.info("request", extra={"facts": facts | {"seconds": total_seconds, "parts": spent}})


@contextmanager
def _span(scope: Scope, headers: Headers) -> Iterator[dict[str, Any]]:
    """Open a server span, a child of the caller's span if it sent one; yields its final attributes."""
    ending: dict[str, Any] = {}
    if _tracer is None:
        yield ending
        return
    parent = propagate.extract(dict(headers))
    span = _tracer.start_span(scope["method"], context=parent, kind=trace.SpanKind.SERVER)
    token = otel_context.attach(trace.set_span_in_context(span, parent))
    try:
        yield ending
    finally:
        otel_context.detach(token)
        span.update_name(f"{scope['method']} {ending.get('route', '')}".rstrip())
        span.set_attribute("http.request.method", scope["method"])
        span.set_attribute("http.route", ending.get("route", ""))
        span.set_attribute("http.response.status_code", ending.get("status", 500))
        span.set_attribute("stconv.request_id", request_id.get())
        span.end()


class JsonLines(logging.Formatter):
    """A log formatter of one JSON object per line; text is escaped, so that it cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format time, level, logger, message, request id and further members of a record."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identity := request_id.get():
            entry["request_id"] = identity
        entry |= getattr(record, "facts", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """Send every log record of this process to standard error as a line of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def export_spans() -> bool:
    """Send spans to `OTEL_EXPORTER_OTLP_ENDPOINT`, if it is set and the extra is installed.

    Returns:
        Whether spans are sent.
    """
    if _tracer is None or not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logging.getLogger(__name__).warning(
            "spans are not sent. Install the extra: pip install 'stconv[opentelemetry]'"
        )
        return False
    provider = TracerProvider(resource=Resource.create({"service.name": "stconv"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True
