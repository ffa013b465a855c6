"""`stconv.hindcast`: a model over an archive, into one Zarr store or into scores alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from stconv.errors import ConfigError
from stconv.front.contained import contained
from stconv.front.model import Model, changed, load
from stconv.front.reading import Reading, grid_spec, source_of

if TYPE_CHECKING:
    import xarray as xr

    from stconv.front.reading import Data
    from stconv.front.scores import Scores
    from stconv.hindcasts.plan import Plan, Wish
    from stconv.hindcasts.run import Result


class MissingForecastsWarning(UserWarning):
    """Warning that forecasts were not made, since their inputs miss too many values."""


@dataclass(frozen=True)
class Workers:
    """The workers of a hindcast.

    Attributes:
        workers: Number of worker processes; None for one a core, 0 to compute in this process.
        memory: Memory of a worker, bytes; None for an equal share of what is available.
        scheduler: Address of the scheduler of a Dask cluster; None for workers of this machine.
    """

    workers: int | None = None
    memory: int | None = None
    scheduler: str | None = None


def hindcast(
    model: Model | str | Path,
    data: Data,
    output: str | Path | None = None,
    *,
    scores: str | Path | None = None,
    first: Any = None,
    last: Any = None,
    stride: int = 1,
    steps: int | None = None,
    bands: bool = False,
    convert_units: bool = False,
    allowed_missing_share: float | None = None,
    workers: int | None = None,
    memory: int | None = None,
    scheduler: str | None = None,
    batch: int | None = None,
    progress: bool = True,
    **reading: Unpack[Reading],
) -> xr.Dataset | Scores:
    """Forecast from every reference time of an archive, and go on where an earlier call was interrupted.

    Args:
        model: A model, or a reference as for `stconv.load`.
        data: Paths of the archive; a Dataset is computed in this process.
        output: Store to write the forecasts to, a path or an address (s3://bucket/h.zarr),
            ending in .zarr.
        scores: Folder to write scores to, instead of the forecasts.
        first: First reference time, ISO 8601; default: the first complete window.
        last: Last reference time; default: the last complete window.
        stride: Keep every stride-th reference time.
        steps: Number of leads; default: those of the training; further ones are rolled out.
        bands: Also store the 80 and 95 % bands, which takes five times the space.
        convert_units: Convert units that differ, and convert the forecast back.
        allowed_missing_share: Share of values, 0 to 1, that may be missing.
        workers: Number of worker processes of this machine; default: one a core; 0 computes in this process.
        memory: Memory of a worker, bytes; default: an equal share of what is available.
        scheduler: Address of the scheduler of a Dask cluster, such as tcp://node:8786.
        batch: Number of windows computed at once; default: by the memory of a worker.
        progress: Show the progress.
        **reading: As for `stconv.inspect`; default: as for the training.

    Returns:
        The forecasts, lazily, with the dimensions `forecast_reference_time` and `lead` before those of the
        grid; or the scores, beside persistence and climatology.

    Raises:
        DataError: The archive does not fit the model, or it changed.
        ConfigError: The output was begun with another model, archive or choice of forecasts; or workers need
            the extra `cluster`.
        FileError: The output cannot be written.
        ClusterError: The workers were lost; the same call goes on.
    """
    wish = make_wish(
        model,
        data,
        output,
        scores,
        reading,
        first=first,
        last=last,
        stride=stride,
        steps=steps,
        bands=bands,
        convert_units=convert_units,
        allowed_missing_share=allowed_missing_share,
        batch=batch,
    )
    return finished(wish, Workers(workers, memory, scheduler), progress)[1]


@contained
def make_wish(
    model: Model | str | Path,
    data: Data,
    output: str | Path | None,
    scores: str | Path | None,
    reading: Mapping[str, Any],
    **options: Any,
) -> Wish:
    """Describe a hindcast from the arguments of `hindcast`.

    Raises:
        ConfigError: Not exactly one of `output` and `scores` is given.
    """
    from stconv.datasets.remote.address import place_of
    from stconv.hindcasts.plan import Wish

    if (output is None) == (scores is None):
        raise ConfigError(
            "A hindcast is written to a store (--output FILE.zarr) or as scores alone (--scores FOLDER). "
            "Name one of the two."
        )
    loaded = model if isinstance(model, Model) else load(model)
    given = grid_spec(reading, hindcast)
    given_place = output if output is not None else scores
    assert given_place is not None
    place = place_of(given_place)
    if scores is not None and not isinstance(place, Path):
        raise ConfigError(
            f"'{place}' is an address; scores, some kilobytes a window, are written to a folder. Name one "
            "that all workers see."
        )
    return Wish(
        bundle=loaded.folder,
        version=loaded.version,
        source=source_of(data, given),
        grid=changed(loaded.forecaster.source, given),
        output=place,
        scores=scores is not None,
        **options,
    )


@contained
def finished(wish: Wish, workers: Workers, progress: bool = True) -> tuple[Result, xr.Dataset | Scores]:
    """Compute what is left of a hindcast, and open it."""
    from stconv.hindcasts.run import planned, run
    from stconv.hindcasts.store import open_hindcast

    n = workers.workers
    if not isinstance(wish.source, list):
        if n or workers.scheduler is not None:
            raise ConfigError(
                "A Dataset is in the memory of this process, and workers cannot read it there. Pass paths, "
                "or leave `workers` and `scheduler` out."
            )
        n = 0
    with planned(wish, n, workers.memory, workers.scheduler) as (plan, client):
        result = run(plan, client, progress)
    if result.missing:
        warnings.warn(
            f"{result.missing} forecasts of {len(plan.positions)} were not made, since too many values of "
            "their inputs are missing; they are NaN, and their `hindcast_status` is 2.",
            MissingForecastsWarning,
            stacklevel=2,
        )
    found = _scores(plan) if wish.scores else open_hindcast(wish.output)
    return result, found


@dataclass(frozen=True)
class Estimate:
    """Time and space of a hindcast, from a measurement on this machine.

    Attributes:
        n: Number of forecasts.
        first: First reference time.
        last: Last reference time.
        leads: Number of leads.
        seconds: Time of a forecast, s.
        threads: Threads of a worker.
        batch: Windows computed at once.
        workers: Number of workers.
        memory: Memory of a worker, bytes.
        bytes: Size of the store before compression, bytes; None for scores alone.
    """

    n: int
    first: str
    last: str
    leads: int
    seconds: float
    threads: int
    batch: int
    workers: int
    memory: int
    bytes: int | None

    def __str__(self) -> str:
        whole = timedelta(seconds=round(self.seconds * self.n / self.workers))
        size = (
            "some kilobytes a window"
            if self.bytes is None
            else f"{self.bytes / 1e9:.3g} GB before compression"
        )
        return "\n".join(
            [
                f"reference times {self.n}, {self.first} to {self.last}, {self.leads} leads",
                f"one forecast    {self.seconds:.3g} s on {self.threads} thread{'s' * (self.threads > 1)}, "
                f"in batches of {self.batch}",
                f"core hours      {self.seconds * self.n * self.threads / 3600:.3g}",
                f"time            {whole} with {self.workers} worker{'s' * (self.workers > 1)}",
                f"memory          {self.memory / 1e9:.3g} GB a worker",
                f"bytes           {size}",
            ]
        )


@contained
def estimated(wish: Wish, workers: Workers) -> Estimate:
    """Measure a forecast, and estimate the whole hindcast; nothing is written."""
    from stconv.hindcasts.run import planned

    with planned(wish, workers.workers, workers.memory, workers.scheduler) as (plan, _):
        means = plan.means
        return Estimate(
            n=len(plan.positions),
            first=plan.origin.first,
            last=plan.origin.last,
            leads=plan.sizes.steps,
            seconds=plan.measure(),
            threads=means.threads or 1,
            batch=plan.job.effort.batch,
            workers=max(means.workers, 1),
            memory=means.memory,
            bytes=None if wish.scores else plan.bytes,
        )


def _scores(plan: Plan) -> Scores:
    from stconv.front.scores import Scores
    from stconv.hindcasts.scores import verification
    from stconv.results import write_scores

    folder = Path(plan.job.output)
    result = verification(plan.forecasts, plan.positions, folder)
    write_scores(result, folder, about=plan.about)
    return Scores(result, folder)
