"""The workers of a hindcast: this process, processes of this machine, or a cluster of Dask."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stconv.containers import memory_limit
from stconv.datasets.series.cache import available_bytes
from stconv.errors import ClusterError, ConfigError, StconvError
from stconv.hindcasts.job import Block, Done, Job
from stconv.processor import available_cores

AHEAD = 3
"""Blocks that are handed out per worker, so that none waits for the next one."""
MEMORY_SHARE = 0.8
"""Share of the available memory that the workers of this machine take together."""
LEAST_MEMORY = 1536 * 2**20
"""Memory below which a worker is not started by default; Python with PyTorch takes half a gigabyte."""
CONNECT_SECONDS = 30
WORKERS_SECONDS = 300
"""Time in which a first worker has to arrive, such as a job that waits in a queue, s."""
MOST_DEATHS = 3
"""A block at which so many workers died is given up."""
Compute = Callable[[Job, Block], Done]


@dataclass(frozen=True)
class Means:
    """Workers and what each may use.

    Attributes:
        workers: Number of worker processes; 0 computes in this process.
        memory: Memory of a worker, bytes.
        threads: Threads of a worker; None for those that Dask gives it.
        scheduler: Address of the scheduler of a cluster; None for workers of this machine.
    """

    workers: int
    memory: int
    threads: int | None
    scheduler: str | None = None


def means_here(workers: int | None = None, memory: int | None = None) -> Means:
    """Share out the cores and the memory of this machine.

    Args:
        workers: Number of worker processes; default: one a core, as far as the memory goes; 0 computes in
            this process.
        memory: Memory of a worker, bytes; default: an equal share of what is available.

    Raises:
        ConfigError: The number is negative.
    """
    if workers is not None and workers < 0:
        raise ConfigError(f"workers is {workers}; expected 0 or more.")
    cores = available_cores()
    available = int(min(available_bytes(), memory_limit() or available_bytes()) * MEMORY_SHARE)
    fitting = available // (LEAST_MEMORY if memory is None else memory)
    chosen = max(1, min(cores, fitting)) if workers is None else workers
    share = available // max(chosen, 1) if memory is None else memory
    return Means(chosen, share, max(1, cores // max(chosen, 1)))


def means_of_cluster(client: Any, address: str, memory: int | None = None) -> Means:
    """Look up the workers of a cluster.

    Raises:
        ClusterError: It has no workers.
    """
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise ClusterError(
            f"The scheduler at '{address}' has no worker after {WORKERS_SECONDS:g} s. Start some, for "
            f"example with `dask worker {address} --nthreads 1`, and look into their log."
        ) from error
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in workers if worker["memory_limit"]]
    return Means(len(workers), memory or min(limits, default=4 * 2**30), None, address)


def require_dask() -> None:
    """Refuse to start workers without Dask's part for them.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "Workers need dask.distributed, which is not installed. Run `pip install 'stconv[cluster]'`, or "
            "set --workers to 0 to compute in this process."
        ) from error


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to the scheduler of a cluster.

    Raises:
        ConfigError: dask.distributed is not installed.
        ClusterError: There is no scheduler at the address.
    """
    require_dask()
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"There is no scheduler at '{address}' ({error}). Start one with `dask scheduler`, or leave "
            "--scheduler out to compute on this machine."
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=CONNECT_SECONDS)


@contextmanager
def started(means: Means) -> Iterator[Any]:
    """Start workers on this machine, and stop them at the end.

    Raises:
        ConfigError: dask.distributed is not installed.
    """
    require_dask()
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=means.workers,
        threads_per_worker=1,
        memory_limit=means.memory,
        dashboard_address=None,
        silence_logs=50,
    )
    try:
        with Client(cluster, set_as_default=False) as client:
            yield client
    finally:
        cluster.close()


def here(compute: Compute, job: Job, blocks: Sequence[Block]) -> Iterator[Done]:
    """Compute one block after the other in this process."""
    for block in blocks:
        yield compute(job, block)


def distributed_over(
    client: Any, n_workers: int, compute: Compute, job: Job, blocks: Sequence[Block]
) -> Iterator[Done]:
    """Compute blocks on the workers of a client, in any order.

    Raises:
        StconvError: The first error of a worker; blocks that are complete stay so.
        ClusterError: The scheduler was lost, or workers died again and again.
    """
    from distributed import CancelledError, KilledWorker, as_completed

    waiting = iter(blocks)

    def submit(block: Block) -> Any:
        return client.submit(compute, job, block, pure=False, retries=0)

    running = as_completed(
        [submit(block) for block in itertools.islice(waiting, AHEAD * n_workers)], loop=client.loop
    )
    try:
        for future in running:
            yield future.result()
            for block in itertools.islice(waiting, 1):
                running.add(submit(block))
    except KilledWorker as error:
        raise ClusterError(
            f"Workers died {MOST_DEATHS} times at the same block, most likely for lack of memory. What "
            "is complete stays. Give each worker more memory (--memory, or fewer --workers), and run the "
            "same command again: it goes on from there."
        ) from error
    except (CancelledError, OSError, TimeoutError) as error:
        if isinstance(error, StconvError):
            raise
        raise ClusterError(
            f"The scheduler was lost ({error}). What is complete stays. Start it again, and run the same "
            "command: it goes on from there."
        ) from error
