"""The plan of a hindcast: reference times, sizes and bytes, known before anything is computed."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from stconv.compute.tiling import bytes_of
from stconv.datasets.remote.address import Place, address_of
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.time_axis import text
from stconv.errors import WindowError
from stconv.hindcasts import layout
from stconv.hindcasts.archive import Archive
from stconv.hindcasts.cluster import Means
from stconv.hindcasts.fingerprint import fingerprint_of, fingerprint_of_model
from stconv.hindcasts.forecasts import Forecasts
from stconv.hindcasts.job import Effort, Job, Task
from stconv.hindcasts.journal import Origin
from stconv.hindcasts.layout import Sizes
from stconv.hindcasts.scores import refuse_unscorable
from stconv.hindcasts.worker import make_forecaster


@dataclass(frozen=True)
class Wish:
    """A hindcast as it is asked for.

    Attributes:
        bundle: Folder of the bundle.
        version: Version to state in the forecasts.
        source: Paths of the archive, or a Dataset.
        grid: Options for reading, those of the training included.
        output: Store of the forecasts, or folder of the scores.
        scores: Whether scores are wanted instead of the forecasts.
        steps: Number of leads; None for those of the training.
        first: First reference time, ISO 8601; None for the first complete window.
        last: Last reference time; None for the last complete window.
        stride: Keep every stride-th reference time.
        bands: See `Task`.
        convert_units: See `Task`.
        allowed_missing_share: See `Task`.
        device: See `Effort`.
        engine: See `Effort`.
        tile: See `Effort`.
        batch: Number of windows computed at once; None to choose by memory.
        imports: See `Job`.
    """

    bundle: Path
    version: str | None
    source: list[str] | xr.Dataset
    grid: GridSpec
    output: Place
    scores: bool = False
    steps: int | None = None
    first: Any = None
    last: Any = None
    stride: int = 1
    bands: bool = False
    convert_units: bool = False
    allowed_missing_share: float | None = None
    device: str = "cpu"
    engine: Any = "torch"
    tile: int | None = None
    batch: int | None = None
    imports: tuple[str, ...] = ()


class Plan:
    """A hindcast that model and archive allow.

    Args:
        wish: The hindcast as it is asked for.
        means: Workers, and the memory of each.

    Attributes:
        forecasts: Model and archive.
        positions: Positions of the reference times in the archive.
        sizes: Numbers that the layout follows from.
        job: The job of the workers.
        origin: Origin of the forecasts, for the journal.

    Raises:
        StconvError: Model and archive do not fit each other or the wish.
    """

    def __init__(self, wish: Wish, means: Means) -> None:
        effort = Effort(wish.device, wish.engine, wish.tile, 1, self._features(means), means.threads)
        forecaster = make_forecaster(wish.bundle, wish.version, effort)
        steps = forecaster.leads if wish.steps is None else wish.steps
        if steps < 1:
            raise WindowError(f"A hindcast of {steps} steps was asked for; expected 1 or more.")
        if wish.scores:
            refuse_unscorable(forecaster, steps)
        task = Task(steps, wish.bands, wish.convert_units, wish.allowed_missing_share)
        archive = Archive(forecaster, wish.source, wish.grid, task)
        self.positions = archive.chosen(wish.first, wish.last, wish.stride, steps if wish.scores else 0)
        self.forecasts, self.means, self._wish = Forecasts(forecaster, archive, task, 1), means, wish
        empty = self.forecasts.empty(1)
        self.sizes = Sizes(
            cells=empty.shape[-1] * empty.shape[-2],
            inputs=len(archive.checked.channels),
            outputs=empty.shape[0] * empty.shape[1],
            steps=steps,
            window=1 - forecaster.offsets[0],
        )
        self.per_chunk = layout.references_per_chunk(
            self.sizes, len(self.positions), means.memory, means.workers
        )
        fingerprint = fingerprint_of(wish.source, wish.grid, archive.ds)
        bands = self.forecasts.bands
        times = [text(archive.times[self.positions[i]]) for i in (0, -1)]
        self.origin = Origin(
            model=fingerprint_of_model(forecaster.bundle, bands),
            source=fingerprint,
            engine=wish.engine,
            steps=steps,
            bands=bands,
            allowed_missing_share=wish.allowed_missing_share,
            first=times[0],
            last=times[1],
            n=len(self.positions),
        )
        self.job = Job(
            id=uuid.uuid4().hex,
            bundle=str(wish.bundle.absolute()),
            version=forecaster.version,
            source=wish.source if isinstance(wish.source, xr.Dataset) else _absolute(wish.source),
            grid=wish.grid,
            fingerprint=fingerprint,
            output=_absolute([str(wish.output)])[0],
            scores=wish.scores,
            task=task,
            effort=dataclasses.replace(effort, batch=wish.batch or self._batch()),
            imports=wish.imports,
        )

    @property
    def bytes(self) -> int:
        """Bytes of all forecasts, uncompressed."""
        return self.sizes.forecast_bytes * len(self.positions)

    @property
    def about(self) -> dict[str, str]:
        """Facts for a report, by heading."""
        bundle, training = self.forecasts.forecaster.bundle, self.forecasts.forecaster.bundle.data.periods
        found = {
            "Model": f"{bundle.name}, bundle {bundle.hash[:12]}",
            "Reference times": f"{self.origin.first} to {self.origin.last}, {self.origin.n} of them",
        }
        if training:
            ends = {name: training[name].end for name in ("train", "val") if name in training}
            end = max(ends.values())
            found["Fitted until"] = f"{end}; errors before it are those of a fit, not of a forecast"
        return found

    def per_block(self, per_chunk: int) -> int:
        """Return the number of chunks that a worker computes in one go."""
        archive = self.forecasts.archive
        return layout.chunks_per_block(
            self.sizes, per_chunk, archive.chunk, self._wish.stride, self.means.memory
        )

    def unchanged(self) -> bool:
        """Return whether the archive is still the one that was planned with."""
        archive = self.forecasts.archive
        return fingerprint_of(self._wish.source, self._wish.grid, archive.ds) == self.job.fingerprint

    def measure(self, n_batches: int = 3) -> float:
        """Measure the time of one forecast on this machine, without writing it, s.

        Args:
            n_batches: Number of batches that are computed after a first one, which is not counted.
        """
        batch = self.job.effort.batch
        forecasts = dataclasses.replace(self.forecasts, batch=batch)
        references = self.positions[: batch * (1 + n_batches)]
        frames, times = forecasts.read(references), [time.perf_counter()]
        times += [time.perf_counter() for _ in forecasts.batches(references, frames)]
        counted = times[1:] if len(times) > 2 else times
        return (counted[-1] - counted[0]) / max(len(references) - batch * (len(times) > 2), 1)

    @staticmethod
    def _features(means: Means) -> int:
        return int(means.memory * layout.FEATURES_SHARE)

    def _batch(self) -> int:
        forecaster, contract = self.forecasts.forecaster, self.forecasts.forecaster.contract
        n_lat, n_lon = (len(contract.grid.axes[dim]) for dim in contract.grid.dims)
        needed = bytes_of(forecaster.bundle.network, n_lat, n_lon)
        return layout.windows_per_batch(needed, self.means.memory, self.per_chunk)


def _absolute(paths: Sequence[str]) -> list[str]:
    """Return paths that a worker with another working folder finds; addresses stay."""
    return [path if address_of(path) else str(Path(path).expanduser().absolute()) for path in paths]
