"""The version of a model that a job began with, over swaps and restarts."""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

from service.model.settings import ModelSettings
from service.problems import Problem
from service.wire.model_facts import ModelFacts
from service.wire.model_messages import AdvanceJob, JobBlock, OtherVersion, Request
from service.workers.model_link import ModelLink, WorkerLost

log = logging.getLogger(__name__)
A = TypeVar("A")


class VersionGone(Problem):
    """The bundle that a job began with cannot be loaded any more.

    Remedy: Submit the job again; the version that is served now computes it.
    """

    status = 503
    code = "version-gone"


class Served(Protocol):
    """The worker of a model, as far as it matters here."""

    name: str

    @property
    def facts(self) -> ModelFacts:
        """Facts about the served version."""

    async def ask(self, request: Request[A], patient: bool = False) -> A:
        """Send one request to the model."""


class Pinned:
    """One version of a model: the worker's process while it serves that version, else a process of its own.

    Args:
        worker: Worker of the model.
        settings: Settings of the version, with its hash.
        load_seconds: Deadline for a process to start, load and warm up, s.
    """

    def __init__(self, worker: Served, settings: ModelSettings, load_seconds: float) -> None:
        self._worker, self._settings, self._load_seconds = worker, settings, load_seconds
        self._own: ModelLink | None = None

    async def ask(self, request: AdvanceJob) -> JobBlock:
        """Send a request to a process of this version, without a deadline.

        Raises:
            Unavailable: No process can take it now.
            ModelLost: The process was lost while it had the request.
            VersionGone: The bundle cannot be loaded.
            Problem: The model refuses the input.
        """
        while True:
            if self._worker.facts.sha256 == self._settings.sha256:
                await self.close()
                answer = await self._worker.ask(request, patient=True)
            else:
                answer = await self._ask_own(request)
            if isinstance(answer, JobBlock):
                return answer
            # else the worker switched to another version while the request waited

    async def close(self) -> None:
        """End the process of its own, if there is one."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def _ask_own(self, request: AdvanceJob) -> JobBlock | OtherVersion:
        if self._own is None or self._own.lost is not None:
            await self.close()
            try:
                self._own = await ModelLink.open(self._worker.name, self._settings, self._load_seconds)
            except WorkerLost as error:
                log.error("model %s: version %s: %s", self._worker.name, self._settings.version, error)
                raise VersionGone(
                    f"Version {self._settings.version} of the model, with which the job began, cannot be "
                    "loaded any more. Submit the job again."
                ) from error
        answer = (await self._own.ask(request)).answer
        assert isinstance(answer, JobBlock | OtherVersion)
        return answer
