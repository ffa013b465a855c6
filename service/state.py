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
from service.background.alias import FollowAlias
from service.background.job_store import Job, JobStore
from service.background.jobs import Jobs
from service.background.signing_keys import SigningKeys
from service.background.versions import Versions
from service.background.watch import Watch
from service.key_ring import KeyRing
from service.settings import Settings
from service.sharing.alone import Alone, Sharing
from service.sharing.folder import SharedFolder
from stconv.clock import HOUR
from stconv.errors import ServiceError

log = logging.getLogger(__name__)


@contextmanager
def state_folder(settings: Settings) -> Iterator[tuple[Path, Sharing]]:
    """Yield the folder of the settings, or a temporary one that is removed at shutdown; and what is shared.

    Raises:
        ServiceError: The folder cannot be created, is in use, or cannot be shared.
    """
    if settings.state is None:
        with tempfile.TemporaryDirectory(prefix="stconv-state-", ignore_cleanup_errors=True) as folder:
            yield Path(folder), Alone()
        return
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"The folder '{settings.state}' for forecasts and jobs cannot be created: {error.strerror}."
        raise ServiceError(f"{said} Choose another folder with --state.") from error
    with _locked(settings.state, settings.shared):
        if not settings.shared:
            yield settings.state, Alone()
            return
        shared = SharedFolder(settings.state / "shared")
        try:
            yield settings.state, shared
        finally:
            shared.close()


@contextmanager
def _locked(folder: Path, shared: bool) -> Iterator[None]:
    """Keep a server out of a folder that is not shared: each would end the other's jobs and scratch files."""
    descriptor = os.open(folder, os.O_RDONLY)  # the folder itself, so that a full disk does not matter
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ServiceError(
            f"The folder '{folder}' is in use by another server. Stop that server, choose another folder "
            "with --state, or start all servers of this folder with --shared."
        ) from None
    except OSError as error:  # a file system without locks
        log.warning("the folder '%s' cannot be locked: %s", folder, error)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def followed(app: FastAPI, sharing: Sharing) -> Iterator[None]:
    """Follow the other servers, and the aliases of the registry, to other versions of the models."""
    settings: Settings = app.state.settings
    tasks = []
    for name, worker in app.state.workers.items():
        if sharing.several:
            tasks.append(asyncio.create_task(app.state.versions.follow(worker)))
        if name in settings.follow:
            alias = FollowAlias(
                worker, settings.follow[name], sharing, app.state.versions, settings, app.state.metrics
            )
            app.state.following[name] = alias
            tasks.append(asyncio.create_task(alias.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@contextmanager
def watched(app: FastAPI, sharing: Sharing) -> Iterator[None]:
    """Watch the data source, if there is one, for each model."""
    settings: Settings = app.state.settings
    watching = []
    for worker in app.state.workers.values() if settings.data else ():
        stored = app.state.stored[worker.name] = StoredForecasts()
        watch = Watch(worker, stored, app.state.folder / "archive", settings, app.state.metrics, sharing)
        watching.append(asyncio.create_task(watch.run()))
    try:
        yield
    finally:
        for task in watching:
            task.cancel()


@contextmanager
def trusted(app: FastAPI) -> Iterator[None]:
    """Keep the signing keys of the token provider up to date, if there is one."""
    ring: KeyRing = app.state.key_ring
    if ring.tokens is None:
        yield
        return
    app.state.signing_keys = SigningKeys(ring.tokens)
    reading = asyncio.create_task(app.state.signing_keys.run())
    try:
        yield
    finally:
        reading.cancel()


@asynccontextmanager
async def job_runner(app: FastAPI, sharing: Sharing) -> AsyncIterator[None]:
    """Process jobs until the server shuts down."""
    settings: Settings = app.state.settings
    folder, life_seconds = app.state.folder / "jobs", HOUR.seconds * settings.job_hours
    store = JobStore(folder, life_seconds, settings.max_job_bytes, sharing)
    versions: Versions = app.state.versions

    def bundle_of(job: Job) -> str:
        return str(versions.bundle(job.bundle_sha256)) if sharing.several else job.bundle

    jobs = app.state.jobs = Jobs(store, app.state.workers, settings, bundle_of)
    jobs.start()
    try:
        yield
    finally:
        await jobs.stop()
