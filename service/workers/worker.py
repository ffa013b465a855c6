"""The worker of one model: a bounded queue and a process that is replaced when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from service.model.settings import ModelSettings
from service.problems import DeadlineExceeded, Unavailable
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.observing import note
from service.wire.model_facts import ModelFacts
from service.wire.model_messages import Answered, AnyRequest, Ready, Request
from service.workers.model_link import ModelLink, ModelLost, Pending, WorkerLost
from service.workers.pinned import Pinned
from service.workers.places import Place, Places, asker
from stconv.errors import ServiceError

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0
A = TypeVar("A")


class Worker:
    """One model in one process, with a queue in order of arrival.

    The process holds at most two batches of requests: one is computed while the next is prepared.

    Args:
        name: Name of the model.
        bundle: Local folder of the bundle.
        settings: Settings of the server.
        metrics: Metrics to update.

    Attributes:
        places: Places of the requests.
        trouble: Reason why the process is being replaced; "" while it is not.
    """

    def __init__(self, name: str, bundle: Path, settings: Settings, metrics: Metrics) -> None:
        self.name = name
        self._settings = settings
        self._metrics = metrics
        metrics.introduce(name)
        self._model_settings = ModelSettings(
            str(bundle),
            version=settings.versions.get(name),
            imports=tuple(settings.imports),
            data=tuple(map(str, settings.data)),
            threads=settings.threads,
            engine=settings.engine,
            tile=settings.tile,
            max_batch=settings.max_batch,
            batch_seconds=settings.batch_seconds,
            hang_seconds=settings.hang_seconds,
        )
        self._link: ModelLink | None = None
        self._waiting: deque[Pending] = deque()
        self.places = Places(settings.queue_size + 2 * settings.max_batch, name)
        self._wake = asyncio.Event()
        self._swapping = asyncio.Lock()
        self._supervisor: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._known: Ready | None = None
        self.trouble = ""

    @property
    def schema(self) -> dict[str, Any]:
        """Input schema of the model, empty before it is loaded; in a restart, that of the last process."""
        return {} if self._known is None else self._known.schema

    @property
    def facts(self) -> ModelFacts:
        """Facts about the model, once it was loaded; in a restart, those of the last process."""
        assert self._known is not None
        return self._known.facts

    @property
    def version(self) -> str:
        """Model version that the forecasts state."""
        return "" if self._known is None else self._known.version

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and its process is alive."""
        return self._link is not None and self._link.lost is None

    async def start(self) -> None:
        """Start the process and wait until the model is loaded and warm.

        Raises:
            ServiceError: The model cannot be loaded; the message gives the reason.
        """
        try:
            self._take(await self._open(self._model_settings))
        except WorkerLost as error:
            raise ServiceError(f"Model {self.name} cannot be served: {error}") from error
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End the process and refuse waiting requests."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        while self._waiting:
            pending = self._waiting.popleft()
            if not pending.answer.done():
                pending.answer.set_exception(Unavailable("The server is stopping.", retry_after_seconds=5))
        if self._link is not None:
            await self._link.close()
        await asyncio.gather(*self._endings, return_exceptions=True)
        self._set_ready()

    async def swap(self, bundle: Path, version: str | None = None, sha256: str | None = None) -> None:
        """Load another bundle in a second process and switch to it when it is warm; no request is lost.

        The current process finishes its requests and then ends. If the new bundle cannot be loaded, the
        current one stays in use.

        Args:
            bundle: Local folder of the new bundle.
            version: Version that the forecasts state; None for a part of the hash.
            sha256: Expected hash of the bundle; None accepts any.

        Raises:
            ServiceError: The bundle cannot be loaded; the message gives the reason.
        """
        async with self._swapping:
            settings = replace(self._model_settings, bundle=str(bundle), version=version, sha256=sha256)
            try:
                link = await self._open(settings)
            except WorkerLost as error:
                self._metrics.swaps.labels(self.name, "failed").inc()
                raise ServiceError(f"Model {self.name} stays at version {self.version}: {error}") from error
            self._model_settings, before = settings, self._link
            self._take(link)
            self._metrics.swaps.labels(self.name, "switched").inc()
            if before is not None:
                ending = asyncio.create_task(self._retire(before))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    def begin_with(self, bundle: Path, version: str, sha256: str) -> None:
        """Start with another version than that of the settings, because other servers serve it."""
        self._model_settings = replace(
            self._model_settings, bundle=str(bundle), version=version, sha256=sha256
        )

    def current(self) -> ModelSettings:
        """Settings of the version that is served, by which it can be loaded again."""
        return replace(self._model_settings, version=self.version, sha256=self.facts.sha256)

    def pinned(self, bundle: str, version: str, sha256: str) -> Pinned:
        """A version of this model that stays the same over a swap; close it after use."""
        settings = replace(self._model_settings, bundle=bundle, version=version, sha256=sha256)
        return Pinned(self, settings, self._settings.load_seconds)

    @property
    def has_room(self) -> bool:
        """Whether there is a place for anybody."""
        return self.ready and self.places.taken < self.places.limit

    def refusal(self, client: str) -> Unavailable | None:
        """The answer to a further request of a client; None if there is a place for it."""
        if not self.ready:
            return Unavailable(f"Model {self.name} is being loaded.", retry_after_seconds=5)
        return self.places.refusal(client)

    @asynccontextmanager
    async def place(self, seconds: float | None = None) -> AsyncIterator[Place]:
        """Hold a place of the present client, from before its upload is read to its answer.

        Args:
            seconds: Deadline, s from now; None for none.

        Raises:
            Unavailable: The model is being loaded, or all places are taken.
            DeadlineExceeded: The deadline passed.
        """
        client = asker.get()
        try:
            if refusal := self.refusal(client):
                raise refusal
            async with self.places.take(client, seconds) as place:
                yield place
        except (Unavailable, DeadlineExceeded) as problem:
            reason = "deadline" if isinstance(problem, DeadlineExceeded) else "queue full"
            if self.ready and not isinstance(problem, ModelLost):
                self._metrics.rejected.labels(self.name, reason).inc()
            raise

    async def ask(self, request: Request[A], patient: bool = False) -> A:
        """Send one request to the model in a place of its own. Canceling gives it up unless it has started.

        Args:
            request: Request to the model.
            patient: Whether it has no deadline, because no client waits for it.

        Raises:
            Problem: 503 if there is no place or the process is lost, 504 past the deadline, 422 if the input
                does not fit.
        """
        async with self.place(None if patient else self._settings.deadline_seconds) as place:
            return await self.ask_in_place(place, request)

    async def ask_in_place(self, place: Place, request: Request[A]) -> A:
        """Send one request like `ask`, for a caller that already holds a `place`."""
        if not self.ready:
            raise Unavailable(f"Model {self.name} is being loaded.", retry_after_seconds=5)
        loop = asyncio.get_running_loop()
        pending = Pending(cast(AnyRequest, request), loop.create_future(), loop.time(), place)
        self._waiting.append(pending)
        self._dispatch()
        try:
            answered = await pending.answer
        except asyncio.CancelledError:
            if not place.timeout.expired():
                self._metrics.rejected.labels(self.name, "client left").inc()
            raise
        finally:
            if pending in self._waiting:
                self._waiting.remove(pending)
                self._metrics.waiting.labels(self.name).set(len(self._waiting))
        spent = answered.spent
        note("queue", pending.sent - pending.came)
        note("turn", spent.turn)
        note("forecast", spent.forecast)
        note("work", spent.work)
        return cast(A, answered.answer)

    def _dispatch(self) -> None:
        """Send waiting requests, up to two batches and the size limit of one request.

        Next is the client that has the fewest with the model, so that nobody waits for all of another's.
        """
        link = self._link
        while self._waiting and link is not None and link.lost is None:
            counts = Counter(sent.place.client for sent in link.under_way.values() if sent.place)
            pending = min(self._waiting, key=lambda each: counts[each.place.client] if each.place else 0)
            crowded = link.bytes_under_way + pending.upload_bytes > self._settings.max_decoded_bytes
            if len(link.under_way) >= 2 * self._settings.max_batch or (link.under_way and crowded):
                break
            self._waiting.remove(pending)
            link.send(pending)
        self._metrics.waiting.labels(self.name).set(len(self._waiting))

    async def _supervise(self) -> None:
        """Replace the process each time it is lost."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            link = self._link
            assert link is not None
            if link.lost is None:
                await self._watch(link)
                continue
            log.error("model %s: worker %s %s; replacing it", self.name, link.pid, link.lost)
            self.trouble = link.lost or ""
            self._metrics.restarts.labels(self.name).inc()
            self._set_ready()
            await link.close()
            while self._link is link:  # a swap may have replaced it already
                try:
                    self._take(await self._open(self._model_settings))
                    pause = FIRST_PAUSE_SECONDS
                except WorkerLost as error:
                    log.error("model %s: %s; trying again in %g s", self.name, error, pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _watch(self, link: ModelLink) -> None:
        """Wait for a change, but not much longer than the process may be silent."""
        loop, limit = asyncio.get_running_loop(), self._settings.hang_seconds
        asleep, pause = loop.time(), min(1.0, limit / 4)
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)
        now = loop.time()
        if now - asleep > 2 * pause:
            link.heard = now  # this process itself stood still, and may have heard nothing
        elif link.lost is None and now - link.heard > limit:
            link.hang(f"gave no sign of life for {limit:g} s")

    async def _open(self, settings: ModelSettings) -> ModelLink:
        return await ModelLink.open(self.name, settings, self._settings.load_seconds)

    def _take(self, link: ModelLink) -> None:
        """Send requests to this process from now on."""
        link.on_change, link.on_answer = self._on_change, self._note
        self._link, self.trouble = link, ""
        self._known = link.ready
        self._on_change()

    async def _retire(self, link: ModelLink) -> None:
        """Let a replaced process finish its requests, at most until their deadline."""
        end = asyncio.get_running_loop().time() + self._settings.deadline_seconds
        while link.under_way and link.lost is None and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        await link.close()

    def _on_change(self) -> None:
        self._set_ready()
        self._wake.set()
        self._dispatch()

    def _note(self, answered: Answered) -> None:
        spent = answered.spent
        self._metrics.computing.labels(self.name).observe(spent.forecast + spent.work)
        if spent.batch:
            self._metrics.batches.labels(self.name).observe(spent.batch)

    def _set_ready(self) -> None:
        self._metrics.ready.labels(self.name).set(self.ready)
