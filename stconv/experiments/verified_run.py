"""A verified run with its bundle, its configuration, and its data as they are now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import xarray as xr
import yaml

from stconv.bundle import Bundle
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.series.splits import Periods
from stconv.errors import DataError, TrackingError
from stconv.experiments.configuration import modules_of_config
from stconv.experiments.trained_model import load_data
from stconv.models.outside import import_modules, load_entry_points
from stconv.tracking.registry import resolve_bundle
from stconv.tracking.run_layout import BEST_CHECKPOINT, CONFIG, TAG_REFIT_OF, TAG_TRAINED
from stconv.tracking.store import RunInfo, download, find_run


@dataclass(frozen=True)
class Verified:
    """A verified run, and the data that there are now.

    Attributes:
        run: The run.
        bundle: Its bundle.
        values: Its configuration.
        steps: Number of optimizer steps of its best weights.
        data: The data as they are now, set up with the split of the configuration.
    """

    run: RunInfo
    bundle: Bundle
    values: dict[str, Any]
    steps: int
    data: GridDataModule

    @property
    def n_known(self) -> int:
        """Number of steps that its data had."""
        return self.bundle.data.n_steps

    @property
    def periods(self) -> Periods:
        """The periods of the verified run, as steps."""
        return self.data.split.apply(self.data.series.times[: self.n_known], self.data.spec.span)


def find_verified(reference: str, dataset: xr.Dataset | None = None) -> Verified:
    """Find a tested run, its bundle, configuration and number of steps, and open its data as they are now.

    Args:
        reference: Run id or name of a tested run, or of a refit of it.
        dataset: The data, if they are in memory.

    Raises:
        TrackingError: The run is unknown, untested, or has no bundle or checkpoint.
        DataError: The source is not the one that the run was trained on, or has changed.
    """
    run = find_run(reference)
    run = find_run(run.tags[TAG_REFIT_OF]) if TAG_REFIT_OF in run.tags else run
    if TAG_TRAINED not in run.tags:
        raise TrackingError(
            f"Run {run} has no bundle: its training did not finish ({run.status}). A refit repeats a "
            "training that was finished and tested; run `stconv fit` and `stconv test` first."
        )
    if not run.tested:
        raise TrackingError(
            f"Run {run} was not tested, so that nothing is known about the skill of its refit. Run `stconv "
            "test` with its configuration first."
        )
    try:
        checkpoint = download(run.run_id, BEST_CHECKPOINT)
    except TrackingError as error:
        raise TrackingError(
            f"Run {run} has no best checkpoint, which says after how many steps its training was best. Train "
            f"it with validation and ModelCheckpoint.\n{error}"
        ) from error
    config = download(run.run_id, CONFIG)
    load_entry_points()
    import_modules(modules_of_config(config))
    bundle = Bundle.load(resolve_bundle(f"runs:/{run.run_id}"))
    steps = int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    data = load_data(config)
    data.dataset = dataset
    data.prepare_data()
    data.setup("fit")
    verified = Verified(run, bundle, yaml.safe_load(config.read_text()), steps, data)
    _check_source(verified)
    return verified


def _check_source(verified: Verified) -> None:
    """Check that the source begins with the data of the verified run.

    Raises:
        DataError: It does not.
    """
    series, known, n = verified.data.series, verified.bundle.data, verified.n_known
    begun = f"The data of run {verified.run} had {n} steps"
    if len(series) < n:
        raise DataError(f"{begun}, and there are {len(series)} now. Give all files that it was trained on.")
    first = replace(series, values=series.values[:n], times=series.times[:n], values_hash="", content_hash="")
    if first.content_hash != known.hash:
        raise DataError(
            f"{begun}, and the first {n} steps of the source are not those: values, times or grid have "
            f"changed (sha256 {first.content_hash[:12]}, expected {known.hash[:12]}). Its scores are about "
            "other data. Train and test the configuration on the source as it is now: stconv fit, stconv "
            "test."
        )
