"""Stored forecasts and jobs, in the operator's folder or in a temporary one."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from fastapi import FastAPI

from service.archive.table import StoredForecasts
from service.background.job_store import JobStore
from service.background.jobs import Jobs
from service.background.watch import Watch
from service.settings import Settings
from stconv.clock import HOUR
from stconv.errors import ServiceError

log = logging.getLogger(__name__)


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
        with _locked(settings.state):
            yield settings.state
        return
    with tempfile.TemporaryDirectory(prefix="stconv-state-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second server out of a folder: each would end the other's jobs and remove its scratch files."""
    descriptor = os.open(folder, os.O_RDONLY)  # the folder itself, so that a full disk does not matter
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ServiceError(
            f"The folder '{folder}' is in use by another server. Stop that server, or choose another folder "
            "with --state."
        ) from None
    except OSError as error:  # a file system without locks
        log.warning("the folder '%s' cannot be locked: %s", folder, error)
    try:
        yield
    finally:
        os.close(descriptor)


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


@asynccontextmanager
async def job_runner(app: FastAPI) -> AsyncIterator[None]:
    """Process jobs until the server shuts down."""
    settings: Settings = app.state.settings
    store = JobStore(app.state.folder / "jobs", HOUR.seconds * settings.job_hours, settings.max_job_bytes)
    jobs = app.state.jobs = Jobs(store, app.state.workers, settings)
    jobs.start()
    try:
        yield
    finally:
        await jobs.stop()
