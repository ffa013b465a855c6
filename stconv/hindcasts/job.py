"""The job that all workers share, and the blocks that each of them takes."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from stconv.compute.engine import Engine
from stconv.datasets.source.grid_spec import GridSpec


@dataclass(frozen=True)
class Task:
    """The forecasts that are wanted, whatever computes them.

    Attributes:
        steps: Number of leads.
        bands: Also store the bounds of the uncertainty bands.
        convert_units: Convert units that differ, and convert the forecast back.
        allowed_missing_share: See `Forecaster.check`.
    """

    steps: int
    bands: bool = False
    convert_units: bool = False
    allowed_missing_share: float | None = None


@dataclass(frozen=True)
class Effort:
    """The means of one worker.

    Attributes:
        device: See `Forecaster`.
        engine: See `Forecaster`.
        tile: See `Forecaster`.
        batch: Number of windows computed at once.
        memory: Bytes that the features of the network may take.
        threads: Threads of a worker; None for those that Dask gives it.
    """

    device: str = "cpu"
    engine: Engine = "torch"
    tile: int | None = None
    batch: int = 1
    memory: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to know besides its block.

    Attributes:
        id: Identity of the job; another run has another one.
        bundle: Folder of the bundle; all workers see it by this path.
        version: Version to state in the forecasts.
        source: Paths of the archive, or a Dataset in memory.
        grid: Description of the grid for reading.
        fingerprint: Fingerprint of the archive, see `fingerprint.py`.
        output: Store of the forecasts, or folder of the scores.
        scores: Whether scores are wanted instead of the forecasts.
        task: The forecasts that are wanted.
        effort: The means of a worker.
        imports: Modules that register networks of the user.
    """

    id: str
    bundle: str
    version: str | None
    source: list[str] | xr.Dataset
    grid: GridSpec
    fingerprint: str
    output: str
    scores: bool
    task: Task
    effort: Effort
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """The reference times of one chunk of the store, which is written and marked as a whole.

    Attributes:
        number: Number of the chunk along the reference times.
        start: Position of its first reference time in the store.
        positions: Positions of its reference times in the archive.
    """

    number: int
    start: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """Successive chunks that a worker computes in one go, so that it reads the archive once."""

    chunks: tuple[Chunk, ...]

    @property
    def n_forecasts(self) -> int:
        """Number of forecasts in the block."""
        return sum(len(chunk.positions) for chunk in self.chunks)


@dataclass(frozen=True)
class Done:
    """What a worker reports about a block.

    Attributes:
        n_forecasts: Number of forecasts in the block.
        n_missing: Those that were not made, since their inputs miss too many values.
        seconds: Time that the block took, s.
    """

    n_forecasts: int
    n_missing: int
    seconds: float
