"""`create_app(settings)`: the routes and what they share. Nothing is made at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service import problems, routes_health
from service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Make the application of one server.

    Args:
        settings: Models, data, limits and keys; nothing else is read from the environment.

    Returns:
        An ASGI application; its lifespan starts and stops the worker processes.
    """
    app = FastAPI(title="stconv", version="0.1.0", lifespan=_lifespan, redoc_url=None)
    app.state.settings = settings
    app.state.draining = False
    app.state.workers = {}
    problems.install(app)
    app.include_router(routes_health.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
