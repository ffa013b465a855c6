"""A hindcast from its plan to its last chunk, begun anew or continued."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stconv.datasets.remote.address import place_of
from stconv.errors import DataError
from stconv.hindcasts import cluster
from stconv.hindcasts.beginning import check_store, is_begun, write_template
from stconv.hindcasts.cluster import Means
from stconv.hindcasts.job import Done
from stconv.hindcasts.journal import refuse_other
from stconv.hindcasts.layout import blocks_of, chunks_of, leads_per_chunk
from stconv.hindcasts.plan import Plan, Wish
from stconv.hindcasts.progress import Progress
from stconv.hindcasts.scores import ScoreFolder
from stconv.hindcasts.store import Store
from stconv.hindcasts.template import template
from stconv.hindcasts.worker import compute


@dataclass(frozen=True)
class Result:
    """A complete hindcast.

    Attributes:
        plan: The plan that was carried out.
        made: Number of forecasts that this run made; an earlier one made the others.
        missing: Those of them whose inputs miss too many values.
        rate: Forecasts per second of this run; 0 if nothing was left to do.
    """

    plan: Plan
    made: int
    missing: int
    rate: float


@contextlib.contextmanager
def planned(
    wish: Wish, workers: int | None = None, memory: int | None = None, scheduler: str | None = None
) -> Iterator[tuple[Plan, Any]]:
    """Plan a hindcast for the workers that there are.

    Args:
        wish: The hindcast as it is asked for.
        workers: See `means_here`.
        memory: See `means_here`.
        scheduler: Address of the scheduler of a cluster.

    Yields:
        The plan, and the client of the cluster, if there is one already.
    """
    if scheduler is None:
        yield Plan(wish, cluster.means_here(workers, memory)), None
        return
    with cluster.connected(scheduler) as client:
        yield Plan(wish, cluster.means_of_cluster(client, scheduler, memory)), client


def run(plan: Plan, client: Any = None, shown: bool = True) -> Result:
    """Compute what is left of a hindcast.

    Args:
        plan: The plan.
        client: Client of a cluster; None for workers of this machine.
        shown: Whether to show the progress.

    Raises:
        ConfigError: The output was begun with another model, archive or choice of forecasts.
        DataError: The archive changed meanwhile.
        FileError: The output cannot be written.
        ClusterError: The workers were lost.
    """
    output = output_of(plan)
    refuse_other(output.origin, plan.origin, plan.job.output)
    output.sweep()
    chunks, open_chunks = chunks_of(plan.positions, output.per_chunk), set(output.open_chunks())
    left = [chunk for chunk in chunks if chunk.number in open_chunks]
    blocks = blocks_of(left, plan.per_block(output.per_chunk))
    n_left, missing = sum(block.n_forecasts for block in blocks), 0
    with Progress(len(plan.positions), len(plan.positions) - n_left, shown) as progress:
        if blocks:
            with _workers(plan, client, len(blocks)) as computed:
                for done in computed(compute, plan.job, blocks):
                    missing += done.n_missing
                    progress.advance(done.n_forecasts)
        rate = progress.rate if n_left else 0.0
    output.sweep()
    if not plan.unchanged():
        raise DataError(
            f"The archive changed while the hindcast was computed, so that '{plan.job.output}' may mix old "
            "and new values. Remove it, and start again when the archive is complete."
        )
    return Result(plan, n_left, missing, rate)


@contextlib.contextmanager
def _workers(plan: Plan, client: Any, n_blocks: int) -> Iterator[Any]:
    means = plan.means
    if client is not None:
        yield _over(client, means)
    elif means.workers == 0:
        yield cluster.here
    else:
        with cluster.started(means) as local:
            yield _over(local, means)


def _over(client: Any, means: Means) -> Any:
    def computed(*arguments: Any) -> Iterator[Done]:
        return cluster.distributed_over(client, means.workers, *arguments)

    return computed


def output_of(plan: Plan) -> Store | ScoreFolder:
    """Open the output, and begin it if it is not there yet."""
    n = len(plan.positions)
    if plan.job.scores:
        path = Path(plan.job.output)
        if not (path / "hindcast.json").exists():
            return ScoreFolder.create(path, n, plan.per_chunk, plan.origin)
        return ScoreFolder(path, n)
    place = place_of(plan.job.output)
    check_store(place)
    if not is_begun(place, plan.origin.to_text()):
        forecasts = plan.forecasts
        sample = forecasts.forecaster.describe(forecasts.empty(1)[:, :, 0], forecasts.archive.checked)
        times = forecasts.archive.times[plan.positions]
        leads = leads_per_chunk(plan.sizes)
        found = template(forecasts.forecaster, sample, times, plan.per_chunk, leads, plan.origin)
        write_template(found, place)
    return Store(place)
