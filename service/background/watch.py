"""Watch of the data source: forecasts from new reference times, verification of past ones."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.archive.stores import unix_time, version_folder
from service.archive.table import StoredForecasts
from service.problems import Problem
from service.settings import Settings
from service.sharing.alone import Sharing
from service.telemetry.metrics import Metrics
from service.wire.model_messages import Fault, UpdateArchive
from service.workers.worker import Worker
from stconv.contenders import PERSISTENCE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """State of the archive that its files do not hold, for the other servers.

    Attributes:
        version: Version of the model, as in its folder.
        newest_frame: Time of the newest frame of the source, ISO 8601; None before it was read.
        faults: Kind and detail of each fault.
        scores: Live verification, as JSON values; None before there is one.
    """

    version: str
    newest_frame: str | None
    faults: tuple[tuple[str, str], ...]
    scores: dict[str, Any] | None


class Watch:
    """Requests the next piece of archive work from one model, again and again.

    Args:
        worker: Worker of the model.
        stored: Table of stored forecasts to update.
        folder: Folder of the archive.
        settings: Settings of the server.
        metrics: Metrics that show the live skill.
        sharing: Holds the task of the archive, of which one server at a time takes care.
    """

    def __init__(
        self,
        worker: Worker,
        stored: StoredForecasts,
        folder: Path,
        settings: Settings,
        metrics: Metrics,
        sharing: Sharing,
    ) -> None:
        self._worker, self._stored, self._folder = worker, stored, folder
        self._settings, self._metrics, self._sharing = settings, metrics, sharing
        self._task = f"archive-{worker.name}"
        self._said = ""

    async def run(self) -> None:
        """Watch until canceled."""
        name, sha256 = self._worker.name, self._worker.facts.sha256
        try:
            await asyncio.to_thread(self._stored.refresh, version_folder(self._folder, name, sha256))
        except OSError as error:
            self._fail(error)
        while True:
            more = False
            try:
                held = self._sharing.holds(self._task)
                if await asyncio.to_thread(self._sharing.hold, self._task):
                    if self._sharing.several and not held:
                        log.info("model %s: this server takes care of the archive", name)
                    more = await self._step()
                else:
                    await asyncio.to_thread(self._look)
                self._said = ""
            except Exception as error:  # whatever one round meets, there is a next one
                self._fail(error)
                self._sharing.release(self._task)  # another server may be able to
            await asyncio.sleep(0 if more else self._settings.watch_seconds)

    def _fail(self, error: Exception) -> None:
        self._metrics.archive_failures.labels(self._worker.name).inc()
        if str(error) != self._said:  # logged once, not at every check
            known = isinstance(error, (Problem, OSError))
            log.error("model %s: cannot store forecasts: %s", self._worker.name, error, exc_info=not known)
        self._said = str(error)
        kept = tuple(fault for fault in self._stored.faults if fault.kind != "file")
        self._note((*kept, Fault("file", "The data source cannot be read.")))

    def _note(self, faults: tuple[Fault, ...]) -> None:
        for fault in faults:
            if fault not in self._stored.faults:
                log.warning("model %s: %s", self._worker.name, fault.detail)
        self._stored.faults = faults
        self._metrics.faults(self._worker.name, [fault.kind for fault in faults])

    async def _step(self) -> bool:
        settings = self._settings
        asked = UpdateArchive(
            model=self._worker.name,
            folder=str(self._folder),
            backfill=settings.archive_backfill,
            keep=settings.archive_keep,
            keep_days=settings.archive_days,
            cases=settings.verification_cases,
        )
        state = await self._worker.ask(asked)
        await asyncio.to_thread(self._stored.refresh, Path(state.folder))
        self._note(state.faults)
        self._stored.newest_frame = state.newest_frame
        self._show_stored()
        if state.verification is not None:
            self._judge(state.verification)
        if self._sharing.several:
            await asyncio.to_thread(self._tell)
        return state.more

    def _show_stored(self) -> None:
        name, facts, stored = self._worker.name, self._worker.facts, self._stored.by_name
        self._metrics.stored.labels(name).set(len(stored))
        newest = unix_time(max(stored), facts.calendar) if stored else None
        if newest is not None:
            self._metrics.newest.labels(name).set(newest)
        if facts.step_seconds is not None:
            self._metrics.step.labels(name).set(facts.step_seconds)

    def _judge(self, verification: dict[str, Any]) -> None:
        found = judged(verification, self._settings)
        self._stored.verification = found
        self._metrics.live(self._worker.name, found)

    def _tell(self) -> None:
        """Note for the other servers what is not in the folder of the archive."""
        stored = self._stored
        faults = tuple((fault.kind, fault.detail) for fault in stored.faults)
        told = Told(stored.version, stored.newest_frame, faults, stored.verification)
        self._sharing.write(self._task, json.dumps(asdict(told)).encode())

    def _look(self) -> None:
        """Take over what the server that takes care of the archive stored and told."""
        sha256 = self._worker.facts.sha256
        self._stored.refresh(version_folder(self._folder, self._worker.name, sha256), keep_record=False)
        self._show_stored()
        try:
            told = Told(**json.loads(self._sharing.read(self._task) or b""))
        except (ValueError, TypeError):  # nothing was told yet
            return
        self._stored.newest_frame = told.newest_frame
        self._note(tuple(Fault(*fault) for fault in told.faults))
        if told.scores is not None and told.version == self._stored.version:
            self._judge(told.scores)


def judged(found: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Add the leads whose skill against persistence is below `minimum_skill`."""
    below = [
        {"variable": name, "lead": lead, "skill": skill}
        for name, scores in found["variables"].items()
        for lead, skill, cases in zip(
            found["leads"], scores["skill"][PERSISTENCE], scores["cases"], strict=True
        )
        if settings.minimum_skill is not None
        and skill is not None
        and skill < settings.minimum_skill
        and cases >= settings.minimum_cases
    ]
    level = {"minimum_skill": settings.minimum_skill, "minimum_cases": settings.minimum_cases}
    return found | level | {"below": below}
