"""The ASGI application: `create_app` assembles routes and shared state; importing has no side effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import stconv
from service.background.versions import Versions
from service.http.bodies import BODIES, BodyRoom
from service.http.drain import Drain, UnderWay
from service.http.gate import Gate
from service.http.key_limits import KeyLimits, Meter
from service.http.openapi import document_routes, operation_id
from service.http.problem_answers import install
from service.http.streaming import Spool
from service.routes import (
    admin,
    edr,
    forecasts,
    health,
    jobs,
    metrics,
    models,
    pages,
    point,
    stored,
    zarr,
)
from service.settings import Settings
from service.sharing.alone import Alone
from service.state import followed, job_runner, state_folder, trusted, watched
from service.telemetry.audit import Audit, audit_file
from service.telemetry.metrics import CountRequests, Metrics
from service.telemetry.observing import Observe
from service.workers.parsers import Parsers
from service.workers.worker import Worker

EXPOSED = [
    *("Location", "Retry-After", "Server-Timing", "WWW-Authenticate", "X-Request-ID", "Allow", "ETag"),
    *("Accept-Ranges", "Content-Length", "Content-Range"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    *("Stconv-Model", "Stconv-Model-Version", "Stconv-Bundle-Sha256", "Stconv-Reference-Time"),
    *("Stconv-Input-Missing-Share", "Stconv-Input-Outside-Training-Share"),
]
"""Headers that pages of other origins may read."""
ALLOWED = [
    *("Authorization", "Content-Type", "Idempotency-Key", "Range", "X-API-Key", "X-Request-ID"),
    *("traceparent", "tracestate"),
]
"""Headers that they may send."""


def create_app(settings: Settings) -> FastAPI:
    """Create the application of one server.

    Args:
        settings: Settings of the server; the application reads nothing else from the environment.

    Returns:
        ASGI application whose lifespan starts and stops the worker processes.
    """
    app = FastAPI(
        title="stconv",
        version=stconv.__version__,
        generate_unique_id_function=operation_id,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.key_ring = settings.key_ring()
    app.state.metrics = Metrics()
    app.state.key_limits = KeyLimits(settings, Alone())
    app.state.draining = False
    app.state.workers = {}
    app.state.stored = {}
    app.state.following = {}
    app.state.signing_keys = None
    install(app)
    groups = (
        health,
        metrics,
        models,
        forecasts,
        point,
        stored,
        jobs,
        zarr,
        edr,
        admin,
        pages,
    )
    for group in groups:
        app.include_router(group.router)
    app.state.routes = [route for group in groups for route in group.router.routes]
    app.state.under_way = UnderWay()
    app.add_middleware(Drain, under_way=app.state.under_way)
    app.add_middleware(Meter)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(Audit)
    document_routes(app, settings)
    if settings.cors_origins:  # around the gate, whose refusals a page must be able to read
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=ALLOWED,
            expose_headers=EXPOSED,
        )
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    app.add_middleware(Observe)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the processes; raise an error with the reason if a model cannot be loaded."""
    settings: Settings = app.state.settings
    app.state.parsers = Parsers(settings)
    app.state.bodies = BodyRoom(BODIES * settings.max_body_bytes)
    async with AsyncExitStack() as stack:
        stack.enter_context(audit_file(settings.audit_file))
        app.state.folder, sharing = stack.enter_context(state_folder(settings))
        app.state.key_limits = KeyLimits(settings, sharing)
        versions = app.state.versions = Versions(sharing, app.state.folder / "bundles")
        app.state.spool = Spool(app.state.folder, settings.max_spool_bytes)
        stack.push_async_callback(app.state.parsers.stop)
        starting = [app.state.parsers.start()]
        for name, bundle in settings.models.items():
            joined = versions.noted(name)
            worker = Worker(name, bundle, settings, app.state.metrics)
            if joined is not None:
                worker.begin_with(versions.bundle(joined.sha256), joined.version, joined.sha256)
            app.state.workers[name] = worker
            stack.push_async_callback(worker.stop)
            starting.append(worker.start())
        await asyncio.gather(*starting)
        stack.enter_context(trusted(app))
        stack.enter_context(followed(app, sharing))
        stack.enter_context(watched(app, sharing))
        await stack.enter_async_context(job_runner(app, sharing))
        yield
