"""Long work in the background: one job after the other for each model, a block of leads at a time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
from typing import TypeVar

from service.background.job_store import UNFINISHED, Job, JobStore
from service.media_types import NETCDF
from service.problems import Problem, Unavailable, Unprocessable, problem_document
from service.settings import Settings
from service.wire.model_messages import BeginJob, ContinueJob, Form, Request
from service.workers.worker import Worker
from stconv.errors import URN

log = logging.getLogger(__name__)
SWEEP_SECONDS = 60
BUSY_PAUSE_SECONDS = 1.0
A = TypeVar("A")


class UnknownJob(Problem):
    """No job of that id, or it was submitted with another key."""

    status = 404
    code = "unknown-job"


class JobGone(Problem):
    """The job expired, was cancelled, or was interrupted by a restart."""

    status = 410
    code = "job-gone"


class JobUnfinished(Problem):
    """The result is not there yet."""

    status = 409
    code = "job-unfinished"


class Jobs:
    """Submitting, running and finding jobs.

    Args:
        store: Where they are kept.
        workers: The models.
        settings: Limits.
    """

    def __init__(self, store: JobStore, workers: dict[str, Worker], settings: Settings) -> None:
        self._store, self._workers, self._settings = store, workers, settings
        self._inputs: dict[str, bytes] = {}
        self._queues: dict[str, asyncio.Queue[str]] = {name: asyncio.Queue() for name in workers}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start working."""
        self._tasks = [asyncio.create_task(self._work(name)) for name in self._workers]
        self._tasks.append(asyncio.create_task(self._sweep()))

    def stop(self) -> None:
        """Stop; what is unfinished is found so by the next server."""
        for task in self._tasks:
            task.cancel()

    def check_room(self) -> None:
        """Refuse a job before its body is read, if too many wait.

        Raises:
            Unavailable: With the numbers.
        """
        waiting = sum(job.status in UNFINISHED for job in self._store.by_id.values())
        if waiting >= self._settings.max_jobs:
            raise Unavailable(
                f"{waiting} jobs wait or run, the limit.",
                retry_after_seconds=30,
                waiting=waiting,
                limit=self._settings.max_jobs,
            )

    def register(
        self,
        owner: str,
        model: str,
        steps: int,
        variables: tuple[str, ...] | None,
        bands: bool,
        media_type: str,
        body: bytes,
        idempotency_key: str | None,
    ) -> tuple[Job, bool]:
        """Make a job, or find the one that was made of the same request with the same idempotency key.

        Returns:
            The job, and whether it is new. A new one waits for `submit` or `fail`.

        Raises:
            Unprocessable: The idempotency key was used for another request.
            Unavailable: The job cannot be written.
        """
        facts = json.dumps([model, steps, variables, bands, media_type]).encode()
        digest = hashlib.sha256(facts + hashlib.sha256(body).digest()).hexdigest()
        key = hashlib.sha256(idempotency_key.encode()).hexdigest() if idempotency_key else ""
        for job in self._store.by_id.values() if key else ():
            if (job.owner, job.idempotency_key) != (owner, key) or _may_be_repeated(job):
                continue
            if job.digest != digest:
                raise Unprocessable(
                    "This Idempotency-Key was used for another request. Take a new one.",
                    kind="idempotency-key",
                )
            return job, False
        self.check_room()
        job = Job(
            secrets.token_urlsafe(16),
            owner,
            model,
            steps,
            media_type,
            None if variables is None else list(variables),
            digest,
            key,
            created=time.time(),
            bands=bands,
        )
        try:
            self._store.save(job)
        except OSError as error:
            del self._store.by_id[job.id]
            log.error("a job cannot be written: %s", error)
            raise Unavailable("The job cannot be kept: no room.", retry_after_seconds=60) from None
        return job, True

    def submit(self, job: Job, fields: bytes) -> None:
        """Let a new job wait for its turn, with its parsed input."""
        self._inputs[job.id] = fields
        self._queues[job.model].put_nowait(job.id)

    def fail(self, job: Job, problem: Problem) -> None:
        """End a job with the problem that it met."""
        try:
            self._store.end(job, "failed", problem_document(problem))
        except OSError as error:
            log.error("job %s cannot be written: %s", job.id, error)

    def get(self, owner: str, key: str) -> Job:
        """A job of the one who asks.

        Raises:
            UnknownJob: There is none; another's are as if there were none.
            JobGone: It expired.
        """
        job = self._store.by_id.get(key)
        if job is None or job.owner != owner:
            raise UnknownJob(f"There is no job {key[:40]!r}.")
        if job.ended is not None and time.time() - job.ended > self._store.life_seconds:
            self._store.expire(job)
        if job.status == "expired":
            raise JobGone("The job expired and its result was removed. Submit it again.")
        return job

    def result(self, job: Job) -> bytes:
        """The result of a job. Reads from disk: not for the event loop.

        Raises:
            JobUnfinished: Not yet; Retry-After says when to ask again.
            JobGone: There will be none.
            Problem: The job failed, with this.
        """
        if job.status in UNFINISHED:
            raise JobUnfinished(
                f"{job.leads_done} of {job.steps} leads are done.", headers={"Retry-After": "1"}
            )
        if job.problem is not None:
            code = job.problem["type"].removeprefix(f"{URN}:").replace("about:blank", "")
            failed = Problem(job.problem["detail"], kind=code)
            failed.status = job.problem["status"]
            raise failed
        if job.status != "done":
            raise JobGone(
                "The server ended before the job did. Submit it again."
                if job.status == "interrupted"
                else f"The job was {job.status}."
            )
        try:
            return self._store.result(job)
        except FileNotFoundError:
            raise JobGone("The result was removed. Submit the job again.") from None

    def cancel(self, job: Job) -> None:
        """Stop a job that is not finished; throw away the result of one that is."""
        self._inputs.pop(job.id, None)
        if job.status in UNFINISHED:
            self._store.end(job, "cancelled")
        else:
            self._store.expire(job)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._store.sweep()

    async def _work(self, model: str) -> None:
        queue = self._queues[model]
        while True:
            job = self._store.by_id.get(await queue.get())
            fields = self._inputs.pop(job.id, None) if job else None
            if job is None or fields is None or job.status != "queued":
                continue
            try:
                await self._run(self._workers[model], job, fields)
            except Problem as problem:
                if job.status in UNFINISHED:  # and not cancelled meanwhile
                    self.fail(job, problem)
            except OSError as error:
                log.error("the result of job %s cannot be written: %s", job.id, error)
                if job.status in UNFINISHED:
                    self.fail(job, Unavailable("The result cannot be kept: no room."))

    async def _run(self, worker: Worker, job: Job, fields: bytes) -> None:
        job.status = "running"
        await asyncio.to_thread(self._store.save, job)
        await _patiently(worker, job, BeginJob(job.id, job.steps, fields))
        wanted = None if job.variables is None else tuple(job.variables)
        asked = ContinueJob(job.id, Form(job.media_type or NETCDF, wanted, job.bands))
        while job.status == "running":
            block = await _patiently(worker, job, asked)
            job.leads_done = block.leads_done
            if block.result is not None and job.status == "running":
                job.headers = block.result.headers
                await asyncio.to_thread(self._store.finish, job, block.result.body)
                self._store.sweep()


def _may_be_repeated(job: Job) -> bool:
    """Whether the same request may be tried again: it ended for reasons of the server."""
    broken = job.problem is not None and job.problem["status"] >= 500
    return broken or job.status in ("interrupted", "expired", "cancelled")


async def _patiently(worker: Worker, job: Job, request: Request[A]) -> A:
    """Ask; where clients fill the queue or the model is being replaced, later again; until cancelled."""
    while True:
        try:
            return await worker.ask(request)
        except Unavailable:
            if job.status not in UNFINISHED:
                raise
            await asyncio.sleep(BUSY_PAUSE_SECONDS)
