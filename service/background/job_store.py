"""Jobs on disk: description and result of each. Files are written under a temporary name and renamed."""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from service.problems import Unavailable
from service.sharing.alone import Alone, Sharing
from stconv.durable import write_whole

log = logging.getLogger(__name__)
UNFINISHED = ("queued", "running")
DESCRIPTION, INPUT, BLOCKS, RESULT = "job.json", "input", "blocks", "result"
JOB_ID = re.compile(r"[\w-]{1,60}")
TOMBSTONE_LIVES = 10
"""Number of lifetimes for which an expired job is answered with 410 rather than 404."""
MOST_ENDED = 1000
"""Number of ended jobs that are kept for each owner; those without a result go first, then the oldest."""


@dataclass
class Job:
    """A forecast computed in the background.

    Attributes:
        id: Random id; reading the job needs the id and the key that submitted it.
        owner: Hash of the API key; "" if the server has no keys.
        model: Name of the model.
        steps: Number of requested leads.
        media_type: Media type of the result.
        variables: Requested variables; None for all.
        bands: Whether the uncertainty bands are included.
        digest: Hash of the request, to recognize equal requests.
        idempotency_key: Hash of the client's Idempotency-Key, or "".
        status: One of queued, running, done, failed, cancelled, interrupted, expired.
        leads_done: Number of finished leads.
        created: Time of submission, s since 1970.
        ended: Time of the end, s since 1970; None if unfinished.
        problem: Status, detail and type of the problem of a failed job.
        headers: HTTP headers of the result.
        bundle: Folder of the bundle that it began with; "" before it began.
        version: Version of the model that it began with.
        bundle_sha256: Hash of that bundle.
    """

    id: str
    owner: str
    model: str
    steps: int
    media_type: str
    variables: list[str] | None
    digest: str
    idempotency_key: str
    status: str = "queued"
    leads_done: int = 0
    created: float = 0.0
    ended: float | None = None
    problem: dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    bands: bool = True
    bundle: str = ""
    version: str = ""
    bundle_sha256: str = ""

    def facts(self, life_seconds: float) -> dict[str, Any]:
        """The job as its owner sees it, as JSON values."""
        return {
            "id": self.id,
            "status": self.status,
            "model": self.model,
            "model_version": self.version or None,
            "steps": self.steps,
            "leads_done": self.leads_done,
            "progress": round(self.leads_done / self.steps, 4),
            "created": _text(self.created),
            "ended": _text(self.ended),
            "expires": _text(self.ended and self.ended + life_seconds),
            "problem": self.problem,
            "href": f"/v1/jobs/{self.id}",
            "result": f"/v1/jobs/{self.id}/result" if self.status == "done" else None,
        }


class JobStore:
    """The jobs of all servers on a folder, by id.

    A server works on a job while it holds the job's task. Jobs whose server ended wait again, to be taken up
    from their last block; those whose input was not stored yet are marked as interrupted.

    How a job ended is known in memory even where it cannot be written: a full disk is no reason not to serve.

    Args:
        folder: Folder of the jobs.
        life_seconds: Time for which a finished job is kept, s.
        max_bytes: Limit for all results together, bytes; the oldest are removed first.
        sharing: Tasks and turns of the servers on this folder.
    """

    def __init__(
        self, folder: Path, life_seconds: float, max_bytes: int, sharing: Sharing | None = None
    ) -> None:
        self._folder, self.life_seconds, self._max_bytes = folder, life_seconds, max_bytes
        self.sharing = sharing or Alone()
        self._writing = threading.RLock()  # a job may be canceled while a thread writes its progress
        self._depth = 0
        self._seen: dict[str, tuple[int, int]] = {}
        self.by_id: dict[str, Job] = {}
        self._read_all()
        self.recover()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other threads and servers from writing jobs; reentrant.

        Raises:
            Unavailable: Another server does not let this one write.
        """
        with self._writing, ExitStack() as stack:
            if self._depth == 0:
                try:
                    stack.enter_context(self.sharing.turn("jobs"))
                except OSError as error:
                    log.error("jobs cannot be written: %s", error)
                    raise Unavailable("Jobs cannot be written now.", retry_after_seconds=5) from error
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def refresh(self, id: str | None = None) -> None:
        """Read what other servers wrote: about one job, or all."""
        if not self.sharing.several:
            return
        with self._writing:
            if id is None:
                self._read_all()
            elif id in self.by_id or JOB_ID.fullmatch(id):
                self._read(id)

    def recover(self) -> None:
        """End unfinished jobs whose server ended before their input was stored."""
        for job in [job for job in list(self.by_id.values()) if job.status in UNFINISHED]:
            if self.sharing.holds(_task(job)) or not self.hold(job):
                continue
            self._read(job.id, held=False)
            if job.status in UNFINISHED and self.has_input(job):
                job.status = "queued"
            elif job.status in UNFINISHED:
                self.end(job, "interrupted")
            self.release(job)

    def hold(self, job: Job) -> bool:
        """Take a job to work on it; False if another server does."""
        return self.sharing.hold(_task(job))

    def release(self, job: Job) -> None:
        """Leave a job to the other servers."""
        self.sharing.release(_task(job))

    def claim(self, model: str) -> Job | None:
        """Take the oldest unfinished job of a model that has its input and that no server works on."""
        self.refresh()
        waiting = [job for job in list(self.by_id.values()) if job.model == model]
        for job in sorted(waiting, key=lambda job: job.created):
            if job.status not in UNFINISHED or self.sharing.holds(_task(job)):
                continue  # held here while its input is read
            if not self.has_input(job) or not self.hold(job):
                continue
            with self._writing:
                self._read(job.id, held=False)
            if job.status in UNFINISHED:
                job.status = "queued"
                return job
            self.release(job)
        return None

    def save(self, job: Job) -> None:
        """Write the description of a job, unless another server has ended it.

        Raises:
            OSError: The disk is full.
        """
        self.by_id[job.id] = job
        with self.turn():
            self._read(job.id)
            self._write(job, DESCRIPTION, json.dumps(asdict(job)).encode())

    def keep_input(self, job: Job, fields: bytes) -> None:
        """Write the parsed input of a job, so that it outlives the server.

        Raises:
            OSError: The disk is full.
        """
        with self.turn():
            self._read(job.id)
            if job.status in UNFINISHED:  # not canceled meanwhile
                self._write(job, INPUT, fields)

    def has_input(self, job: Job) -> bool:
        """Whether the parsed input of an unfinished job is stored."""
        return self.path(job, INPUT).exists()

    def path(self, job: Job, name: str) -> Path:
        """Return the path of a file of a job."""
        return self._folder / job.id / name

    def end(self, job: Job, status: str, problem: dict[str, Any] | None = None) -> None:
        """Record the end of a job, and remove all but its result."""
        with self.turn():
            self._read(job.id)
            if job.status in UNFINISHED:  # not ended by another server meanwhile
                job.status, job.problem, job.ended = status, problem, time.time()
                self._note(job)
            for name in (INPUT, BLOCKS):
                self.path(job, name).unlink(missing_ok=True)

    def finish(self, job: Job, result: bytes) -> None:
        """Store the result and mark the job as done; the result of a job canceled meanwhile is discarded.

        Raises:
            OSError: The disk is full.
        """
        with self.turn():
            self._write(job, RESULT, result)
            self._read(job.id)
            if job.status in UNFINISHED:
                self.end(job, "done")
            else:
                self.path(job, RESULT).unlink(missing_ok=True)

    def result(self, job: Job) -> BinaryIO:
        """Open the result of a finished job."""
        return self.path(job, RESULT).open("rb")

    def expire(self, job: Job) -> None:
        """Remove the result and keep only the description."""
        with self.turn():
            self.path(job, RESULT).unlink(missing_ok=True)
            job.status = "expired"
            self._note(job)

    def _note(self, job: Job) -> None:
        try:
            self.save(job)
        except OSError as error:
            log.error("that job %s is %s cannot be written: %s", job.id, job.status, error)

    def remove(self, job: Job) -> None:
        """Forget a job with its result."""
        with self.turn():
            shutil.rmtree(self._folder / job.id, ignore_errors=True)
            self.by_id.pop(job.id, None)
            self._seen.pop(job.id, None)

    def sweep(self) -> None:
        """Expire jobs that are too old, and the oldest while all results exceed the limit; forget surplus."""
        now, total, kept = time.time(), 0, Counter[str]()
        ended = [job for job in list(self.by_id.values()) if job.ended is not None]
        for job in sorted(ended, key=lambda job: (job.status == "done", job.ended or 0), reverse=True):
            age = now - (job.ended or now)
            kept[job.owner] += 1
            if age > TOMBSTONE_LIVES * self.life_seconds or kept[job.owner] > MOST_ENDED:
                self.remove(job)
                continue
            if job.status == "expired":
                continue
            path = self.path(job, RESULT)
            total += path.stat().st_size if path.exists() else 0
            if age > self.life_seconds or total > self._max_bytes:
                self.expire(job)

    def _read_all(self) -> None:
        found = {path.parent.name for path in self._folder.glob(f"*/{DESCRIPTION}")}
        for id in found:
            self._read(id)
        for job in [job for id, job in self.by_id.items() if id not in found]:
            if self.sharing.several and not self.sharing.holds(_task(job)):
                del self.by_id[job.id]

    def _read(self, id: str, held: bool = True) -> None:
        """Read the description of a job, if it changed; of a held job, only how another server ended it."""
        known = self.by_id.get(id)
        if known is not None and not self.sharing.several:
            return
        path = self._folder / id / DESCRIPTION
        try:
            state = (path.stat().st_ino, path.stat().st_mtime_ns)
            if self._seen.get(id) == state:
                return
            job = Job(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return
        if job.id != id:
            return
        self._seen[id] = state
        if known is None:
            self.by_id[id] = job
        elif not (held and self.sharing.holds(_task(job)) and job.status in UNFINISHED):
            vars(known).update(vars(job))

    def _write(self, job: Job, name: str, content: bytes) -> None:
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, content)


def _task(job: Job) -> str:
    return f"job-{job.id}"


def _text(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
