"""Stored forecasts and jobs, in the operator's folder or in a temporary one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI

from service.archive.table import StoredForecasts
from service.background.job_store import JobStore
from service.background.jobs import Jobs
from service.background.watch import Watch
from service.settings import Settings
from stconv.clock import HOUR
from stconv.errors import ServiceError


@contextmanager
def state_folder(settings: Settings) -> Iterator[Path]:
    """Yield the folder of the settings, or a temporary folder that is removed at shutdown."""
    if settings.state is not None:
        try:
            settings.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            said = (
                f"The folder '{settings.state}' for forecasts and jobs cannot be created: {error.strerror}."
            )
            raise ServiceError(f"{said} Choose another folder with --state.") from error
        yield settings.state
        return
    with tempfile.TemporaryDirectory(prefix="stconv-state-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def watched(app: FastAPI) -> Iterator[None]:
    """Watch the data source, if there is one, for each model."""
    settings: Settings = app.state.settings
    watching = []
    for worker in app.state.workers.values() if settings.data else ():
        stored = app.state.stored[worker.name] = StoredForecasts()
        watch = Watch(worker, stored, app.state.folder / "archive", settings, app.state.metrics)
        watching.append(asyncio.create_task(watch.run()))
    try:
        yield
    finally:
        for task in watching:
            task.cancel()


@contextmanager
def job_runner(app: FastAPI) -> Iterator[None]:
    """Process jobs until the server shuts down."""
    settings: Settings = app.state.settings
    store = JobStore(app.state.folder / "jobs", HOUR.seconds * settings.job_hours, settings.max_job_bytes)
    jobs = app.state.jobs = Jobs(store, app.state.workers, settings)
    jobs.start()
    try:
        yield
    finally:
        jobs.stop()
