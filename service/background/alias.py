"""Following an alias of the registry: its version is fetched and loaded while requests continue."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.background.versions import Versions
from service.settings import Settings
from service.sharing.alone import Sharing
from service.telemetry.metrics import Metrics
from service.workers.alias_version import alias_version
from service.workers.last_good import fetch_if_new, keep
from service.workers.worker import Worker
from stconv.errors import ServiceError, StconvError, TrackingError

log = logging.getLogger(__name__)
AGAIN_SECONDS = 600.0
"""Time after which a version that could not be loaded is tried again, s."""


class FollowAlias:
    """Keeps a model at the version that an alias names; of several servers one asks the registry.

    Args:
        worker: Worker of the model.
        reference: `models:/NAME@ALIAS`.
        sharing: Holds the task of asking.
        versions: Tells the other servers.
        settings: Settings of the server.
        metrics: Counts the checks.
    """

    def __init__(
        self,
        worker: Worker,
        reference: str,
        sharing: Sharing,
        versions: Versions,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._worker, self._reference, self._sharing, self._versions = worker, reference, sharing, versions
        self._settings, self._metrics = settings, metrics
        self._checked: float | None = None
        self._problem: str | None = None
        self._said = ""
        self._failed: tuple[str, float] = "", 0.0

    def state(self) -> dict[str, Any]:
        """State for `/readyz`, as JSON values; names no address and no path."""
        checked = None if self._checked is None else datetime.fromtimestamp(self._checked, UTC)
        return {
            "reference": self._reference,
            "version": self._worker.version,
            "asks_the_registry": self._sharing.holds(self._task),
            "checked": checked and checked.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "problem": self._problem,
        }

    async def run(self) -> None:
        """Check again and again, until canceled."""
        while True:
            await asyncio.sleep(self._settings.follow_seconds)
            try:
                if await asyncio.to_thread(self._sharing.hold, self._task):
                    await self._check()
            except Exception as error:  # whatever one check meets, there is a next one
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._metrics.alias_checks.labels(self._worker.name, "failed").inc()
        if str(error) != self._said:  # logged once, not at every check
            known = isinstance(error, (StconvError, OSError))
            message = "model %s: cannot follow %s: %s"
            log.error(message, self._worker.name, self._reference, error, exc_info=not known)
        self._said = str(error)
        asked = isinstance(error, TrackingError)
        what = "the registry cannot be asked" if asked else "the version that it names cannot be loaded"
        self._problem = f"The alias is not followed: {what}. The server's log says why."

    @property
    def _task(self) -> str:
        return f"alias-{self._worker.name}"

    async def _check(self) -> None:
        worker, cache = self._worker, self._settings.cache
        same = await asyncio.to_thread(alias_version, self._reference) == worker.version
        found = None if same else await fetch_if_new(self._reference, cache, worker.version)
        self._checked = time.time()
        if found is None:
            self._metrics.alias_checks.labels(worker.name, "same").inc()
            self._problem, self._said = None, ""
            return
        version, since = self._failed
        if version == found.version and time.monotonic() - since < AGAIN_SECONDS:
            return
        try:
            await self._versions.switch(worker, Path(found.folder), found.version, found.sha256)
        except ServiceError:
            self._failed = found.version, time.monotonic()
            raise
        await asyncio.to_thread(keep, self._reference, found, cache)
        self._metrics.alias_checks.labels(worker.name, "switched").inc()
        self._problem, self._said = None, ""
        log.info("model %s: follows %s to version %s", worker.name, self._reference, found.version)
