"""The work of one process: it opens model, archive and output once, and computes block after block."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import torch

from stconv.allocation import KEPT_BYTES, keep_freed_memory
from stconv.bundle import Bundle
from stconv.datasets.remote.address import place_of
from stconv.errors import DataError
from stconv.forecast import Forecaster
from stconv.forecast.computation import NetworkComputation
from stconv.hindcasts.archive import Archive
from stconv.hindcasts.fingerprint import fingerprint_of
from stconv.hindcasts.forecasts import Forecasts, Frames
from stconv.hindcasts.job import Block, Chunk, Done, Effort, Job
from stconv.hindcasts.scores import ScoreFolder, score
from stconv.hindcasts.store import Store
from stconv.hindcasts.template import stacked
from stconv.models.outside import import_modules

_LOCK = threading.Lock()
_LATEST: list[Worker] = []


def compute(job: Job, block: Block) -> Done:
    """Compute a block and write it; the function that Dask calls.

    Args:
        job: The job; what it needs stays open for the next block.
        block: Chunks to compute. One that is complete already is made again, with the same content.

    Raises:
        StconvError: Model, archive or output cannot be used, or the archive changed.
    """
    with _LOCK:  # a process computes one block at a time, in the memory that it was given
        began = time.monotonic()
        if not _LATEST or _LATEST[0].job.id != job.id:
            keep_freed_memory(job.effort.memory or KEPT_BYTES)
            _LATEST[:] = [Worker(job)]
        return Done(block.n_forecasts, _LATEST[0].compute(block), time.monotonic() - began)


def make_forecaster(bundle: Path, version: str | None, effort: Effort) -> Forecaster:
    """Load a model for a worker, within its memory; its bands are as calibrated, without hindsight."""
    loaded = Bundle.load(bundle)
    computation = NetworkComputation(loaded, effort.device, effort.tile, effort.engine, effort.memory)
    if loaded.bands is not None:
        computation.widen(torch.zeros_like(loaded.bands.widening))
    return Forecaster(loaded, version=version, computation=computation)


class Worker:
    """Model, archive and output of a job, opened once.

    Args:
        job: The job.

    Raises:
        DataError: The archive is not the one that the hindcast was begun with.
    """

    def __init__(self, job: Job) -> None:
        import_modules(job.imports)
        if job.effort.threads is not None:
            torch.set_num_threads(job.effort.threads)
        self.job = job
        forecaster = make_forecaster(Path(job.bundle), job.version, job.effort)
        archive = Archive(forecaster, job.source, job.grid, job.task)
        if fingerprint_of(job.source, job.grid, archive.ds) != job.fingerprint:
            raise DataError(
                "The archive changed since this hindcast was started, or another machine sees other files by "
                "the same names. Start again when the archive is complete, with another output."
            )
        self._forecasts = Forecasts(forecaster, archive, job.task, job.effort.batch)

    def compute(self, block: Block) -> int:
        """Compute a block and write it; return the number of forecasts whose inputs miss too much."""
        truth = self.job.task.steps if self.job.scores else 0
        frames = self._forecasts.read([i for chunk in block.chunks for i in chunk.positions], truth)
        return sum(self._chunk(chunk, frames) for chunk in block.chunks)

    def _chunk(self, chunk: Chunk, frames: Frames) -> int:
        made = self._forecasts.usable(chunk.positions, frames)
        if self.job.scores:
            self._score(chunk, made, frames)
        else:
            self._store(chunk, made, frames)
        return int((~made).sum())

    def _score(self, chunk: Chunk, made: np.ndarray, frames: Frames) -> None:
        references = [i for i, usable in zip(chunk.positions, made, strict=True) if usable]
        folder = ScoreFolder(Path(self.job.output), 0)
        folder.write(chunk.number, score(self._forecasts, references, frames) if references else None)

    def _store(self, chunk: Chunk, made: np.ndarray, frames: Frames) -> None:
        forecasts, checked = self._forecasts, self._forecasts.archive.checked
        fields, places = forecasts.empty(len(made)), np.flatnonzero(made)
        begin = 0
        for chosen, found in forecasts.batches([chunk.positions[i] for i in places], frames):
            at = places[begin : begin + len(chosen)]
            fields[:, :, at] = found.swapaxes(1, 2)
            begin += len(chosen)
        n_leads = len(made) * self.job.task.steps
        flat = fields.reshape(*fields.shape[:2], n_leads, *fields.shape[-2:])
        times = [checked.reference_time] * n_leads
        described = forecasts.forecaster.in_form_of_user(flat, checked, times)
        Store(place_of(self.job.output)).write(chunk.number, stacked(described, len(made)), made)
