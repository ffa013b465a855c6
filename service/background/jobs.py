"""Jobs in the background: one at a time for each model, computed in blocks of leads."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import BinaryIO

from service.background.job_store import BLOCKS, INPUT, UNFINISHED, Job, JobStore
from service.media_types import NETCDF
from service.problems import Problem, Unavailable, Unprocessable, problem_document
from service.settings import Settings
from service.wire.model_messages import AdvanceJob, Form, JobBlock
from service.workers.model_link import ModelLost
from service.workers.pinned import Pinned
from service.workers.worker import Worker
from stconv.errors import URN

log = logging.getLogger(__name__)
SWEEP_SECONDS = 60
BUSY_PAUSE_SECONDS = 1.0
LOOK_SECONDS = 1.0
"""Interval at which a server looks for jobs that another one accepted or left behind, s."""
PROGRESS_SECONDS = 1.0
"""Interval at which the progress of a job is written for other servers, s."""
MOST_LOSSES = 3
"""How often a job may lose the process of its model in the same block."""


class UnknownJob(Problem):
    """There is no job with that id, or it was submitted with another key.

    Remedy: Use the address in `Location` of the answer to `POST /v1/jobs`.
    """

    status = 404
    code = "unknown-job"


class JobGone(Problem):
    """The job expired, was canceled, or was interrupted by a restart before its input was stored.

    Remedy: Submit the job again; results are kept for `STCONV_SERVE_JOB_HOURS`.
    """

    status = 410
    code = "job-gone"


class JobUnfinished(Problem):
    """The job is not finished.

    Remedy: Wait as long as `Retry-After` says, and ask again.
    """

    status = 409
    code = "job-unfinished"


class Jobs:
    """Submission, execution and lookup of jobs.

    Args:
        store: Jobs on disk.
        workers: Workers by model name.
        settings: Settings of the server.
        bundle_of: Function that finds the folder of the bundle with which a job began.
    """

    def __init__(
        self,
        store: JobStore,
        workers: dict[str, Worker],
        settings: Settings,
        bundle_of: Callable[[Job], str] = attrgetter("bundle"),
    ) -> None:
        self._store, self._workers, self._settings = store, workers, settings
        self._bundle_of = bundle_of
        self._sharing = store.sharing
        self._wake = {name: asyncio.Event() for name in workers}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start to process jobs, first those that the last server left unfinished."""
        for job in list(self._store.by_id.values()):
            if job.status in UNFINISHED and job.model not in self._workers and not self._sharing.several:
                self._store.end(job, "interrupted")
        self._tasks = [asyncio.create_task(self._work(name)) for name in self._workers]
        self._tasks.append(asyncio.create_task(self._sweep()))

    async def stop(self) -> None:
        """Stop processing; the next server on the same folder goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check_room(self) -> None:
        """Refuse a job before its body is read if too many are unfinished.

        Raises:
            Unavailable: The number of unfinished jobs has reached the limit.
        """
        waiting = sum(job.status in UNFINISHED for job in list(self._store.by_id.values()))
        if waiting >= self._settings.max_jobs:
            raise Unavailable(
                f"{waiting} jobs run or wait, which is the limit.",
                retry_after_seconds=30,
                waiting=waiting,
                limit=self._settings.max_jobs,
            )

    def register(
        self,
        owner: str,
        model: str,
        steps: int,
        form: Form,
        body: bytes,
        idempotency_key: str | None,
    ) -> tuple[Job, bool]:
        """Create a job, or find that of the same request with the same idempotency key.

        Args:
            owner: Hash of the API key; "" if the server has no keys.
            model: Name of the model.
            steps: Number of leads.
            form: Form of the result.
            body: The body of the request, not yet parsed.
            idempotency_key: The client's Idempotency-Key, if it sent one.

        Returns:
            The job, and whether its input is not stored yet: it is new, or the server that another request
            with this key reached may die before. The caller must then `submit` or `forget` it.

        Raises:
            Unprocessable: The idempotency key was used for a different request.
            Unavailable: The job cannot be written.
        """
        digest = _digest(model, steps, form, body)
        key = hashlib.sha256(idempotency_key.encode()).hexdigest() if idempotency_key else ""
        with self._store.turn():
            self._store.refresh()
            earlier = self._earlier(owner, key) if key else None
            if earlier is not None:
                if earlier.digest != digest:
                    raise Unprocessable(
                        "This Idempotency-Key was used for a different request. Choose a new one.",
                        kind="idempotency-key",
                    )
                if earlier.status not in UNFINISHED or self._store.has_input(earlier):
                    return earlier, False
                self._store.hold(earlier)
                return earlier, True
            self.check_room()
            return self._new(owner, model, steps, form, digest, key), True

    def _new(self, owner: str, model: str, steps: int, form: Form, digest: str, key: str) -> Job:
        job = Job(
            secrets.token_urlsafe(16),
            owner,
            model,
            steps,
            form.media_type,
            None if form.variables is None else list(form.variables),
            digest,
            key,
            created=time.time(),
            bands=form.bands,
        )
        try:
            self._store.hold(job)
            self._store.save(job)
        except OSError as error:
            self._store.by_id.pop(job.id, None)
            self._store.release(job)
            log.error("cannot write a job: %s", error)
            raise Unavailable("The job cannot be stored: the disk is full.", retry_after_seconds=60) from None
        return job

    async def submit(self, job: Job, fields: bytes) -> None:
        """Queue a job with its parsed input; from now on it outlives this server.

        Raises:
            OSError: The disk is full.
        """
        await asyncio.to_thread(self._store.keep_input, job, fields)
        self._store.release(job)
        self._wake[job.model].set()

    def forget(self, job: Job) -> None:
        """Remove a job whose input was refused, so that refusals do not add up.

        Not if another request with the same idempotency key stored its input meanwhile.
        """
        with self._store.turn():
            if not self._store.has_input(job):
                self._store.remove(job)
        self._store.release(job)

    def fail(self, job: Job, problem: Problem) -> None:
        """Mark a job as failed with a problem."""
        try:
            self._store.end(job, "failed", problem_document(problem))
        except OSError as error:
            log.error("cannot write job %s: %s", job.id, error)
        self._store.sweep()

    def get(self, owner: str, key: str) -> Job:
        """Find a job of this owner.

        Raises:
            UnknownJob: There is no such job, or it belongs to another owner.
            JobGone: The job expired.
        """
        self._store.refresh(key)
        job = self._store.by_id.get(key)
        if job is None or job.owner != owner:
            raise UnknownJob(f"There is no job {key[:40]!r}.")
        if job.ended is not None and time.time() - job.ended > self._store.life_seconds:
            self._store.expire(job)
        if job.status == "expired":
            raise JobGone("The job expired and its result was removed. Submit it again.")
        return job

    def result(self, job: Job) -> BinaryIO:
        """Open the result of a job on disk; do not call in the event loop.

        Raises:
            JobUnfinished: The job is not finished; Retry-After says when to try again.
            JobGone: The job expired, or was canceled or interrupted.
            Problem: The job failed; this is its problem.
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
                "The server stopped before the job was finished. Submit it again."
                if job.status == "interrupted"
                else f"The job was {job.status}."
            )
        try:
            return self._store.result(job)
        except FileNotFoundError:
            raise JobGone("The result was removed. Submit the job again.") from None

    def cancel(self, job: Job) -> None:
        """Cancel an unfinished job, or remove the result of a finished one."""
        if job.status in UNFINISHED:
            self._store.end(job, "cancelled")
        else:
            self._store.expire(job)

    def _earlier(self, owner: str, key: str) -> Job | None:
        """Find the job of an idempotency key, unless it may be repeated."""
        jobs = list(self._store.by_id.values())
        same = (job for job in jobs if (job.owner, job.idempotency_key) == (owner, key))
        return next((job for job in same if not _may_be_repeated(job)), None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                if await asyncio.to_thread(self._sharing.hold, "sweep"):
                    await asyncio.to_thread(self._store.refresh)
                    await asyncio.to_thread(self._store.recover)
                    await asyncio.to_thread(self._store.sweep)
            except (OSError, Problem) as error:
                log.error("jobs cannot be swept: %s", error)

    async def _work(self, model: str) -> None:
        wake = self._wake[model]
        while True:
            wake.clear()
            try:
                job = await asyncio.to_thread(self._store.claim, model)
            except OSError as error:
                log.error("jobs cannot be read: %s", error)
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
                continue
            if job is None:
                with suppress(TimeoutError):  # other servers do not wake this one
                    await asyncio.wait_for(wake.wait(), LOOK_SECONDS if self._sharing.several else None)
                continue
            try:
                await self._attend(self._workers[model], job)
            except Exception:  # whatever one attempt meets, there is a next one, here or at another server
                log.exception("job %s is interrupted", job.id)
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
            finally:
                self._store.release(job)

    async def _attend(self, worker: Worker, job: Job) -> None:
        try:
            await self._run(worker, job)
        except Problem as problem:
            if job.status in UNFINISHED:  # not canceled meanwhile
                await asyncio.to_thread(self.fail, job, problem)
        except OSError as error:
            log.error("cannot write the result of job %s: %s", job.id, error)
            if job.status in UNFINISHED:
                full = Unavailable("The result cannot be stored: the disk is full.")
                await asyncio.to_thread(self.fail, job, full)

    async def _run(self, worker: Worker, job: Job) -> None:
        """Process a job with the version of the model that it began with."""
        job.status = "running"
        if not job.bundle_sha256:
            now = worker.current()
            job.bundle, job.version, job.bundle_sha256 = now.bundle, now.version or "", now.sha256 or ""
        await asyncio.to_thread(self._store.save, job)
        wanted = None if job.variables is None else tuple(job.variables)
        asked = AdvanceJob(
            str(self._store.path(job, INPUT)),
            str(self._store.path(job, BLOCKS)),
            job.steps,
            job.bundle_sha256,
            Form(job.media_type or NETCDF, wanted, job.bands),
        )
        model = worker.pinned(self._bundle_of(job), job.version, job.bundle_sha256)
        written = time.monotonic()
        try:
            while job.status == "running":
                block = await _patiently(model, job, asked)
                job.leads_done = block.leads_done
                if self._sharing.several and time.monotonic() - written > PROGRESS_SECONDS:
                    await asyncio.to_thread(self._store.save, job)  # notices too if it was canceled elsewhere
                    written = time.monotonic()
                if block.result is not None and job.status == "running":
                    job.headers = block.result.headers
                    await asyncio.to_thread(self._store.finish, job, block.result.body)
                    self._store.sweep()
        finally:
            await model.close()


def _digest(model: str, steps: int, form: Form, body: bytes) -> str:
    """Return a hash by which equal requests are recognized."""
    facts = json.dumps([model, steps, form.variables, form.bands, form.media_type]).encode()
    return hashlib.sha256(facts + hashlib.sha256(body).digest()).hexdigest()


def _may_be_repeated(job: Job) -> bool:
    """Whether the server, not the request, was the reason for the end, so that a retry is allowed."""
    broken = job.problem is not None and job.problem["status"] >= 500
    return broken or job.status in ("interrupted", "expired", "cancelled")


async def _patiently(model: Pinned, job: Job, request: AdvanceJob) -> JobBlock:
    """Compute a block; try again while the queue is full or the model's process is being replaced.

    Raises:
        ModelLost: The process was lost several times in this block, which may be the fault of the job.
    """
    losses = 0
    while True:
        try:
            return await model.ask(request)
        except Unavailable as problem:
            losses += isinstance(problem, ModelLost)
            if job.status not in UNFINISHED or losses == MOST_LOSSES:
                raise
            await asyncio.sleep(BUSY_PAUSE_SECONDS)
