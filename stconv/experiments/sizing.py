"""The size and the epochs of a suggested experiment, by the time that its training may take."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from stconv.errors import ConfigError
from stconv.experiments.budget import Pace, duration, measure
from stconv.experiments.quiet import only_warnings
from stconv.experiments.running import run_experiment
from stconv.experiments.starter import LEAST_STEPS, averaging_decay

if TYPE_CHECKING:
    import xarray as xr

WIDTHS = (32, 16, 8)
"""Numbers of filters to choose from, the best first."""
SHARE = 0.9
"""Share of the time that is planned; the rest is for epochs that take longer than measured."""


@dataclass(frozen=True)
class Sized:
    """An experiment that fits into a time.

    Attributes:
        values: Its configuration as plain values.
        said: A sentence on the measured speed.
    """

    values: dict[str, Any]
    said: str


class _Measured(Exception):  # noqa: N818 - it is no error
    """Ends a trial before its first epoch."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.pace = pace


class _Measuring(Callback):
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise _Measured(measure(pl_module, trainer.datamodule))  # type: ignore[arg-type, attr-defined]


def fit_into(values: dict[str, Any], minutes: float, dataset: xr.Dataset | None = None) -> Sized:
    """Choose the width of the network and the number of epochs of a suggested experiment.

    A training step of the network is measured on the data. The widest network is taken that has time for
    as many steps as a training needs; the training gets no more epochs than suggested. Each width prepares
    the data anew, so one that cannot be fast enough is not tried: work grows at most with the square of
    the width.

    Args:
        values: Configuration by `starter`.
        minutes: Time that the training may take on this machine.
        dataset: Data of an experiment that has them in memory.

    Raises:
        ConfigError: The time is not above zero, or too short for one epoch of the smallest network.
    """
    if not (isinstance(minutes, int | float) and math.isfinite(minutes) and minutes > 0):
        raise ConfigError(f"minutes is {minutes!r}; expected a number above zero.")
    values = copy.deepcopy(values)
    trainer = values["trainer"]
    network = values["model"]["network"]["init_args"]
    while "network" in network:
        network = network["network"]["init_args"]
    seconds, most = 60 * minutes, trainer["max_epochs"]
    widths = [width for width in WIDTHS if width <= network["n_filters"]]
    network["n_filters"] = widths[0]
    pace, preparing = _trial(values, dataset)
    left = SHARE * seconds - preparing
    if left <= 0:
        least = (preparing + pace.epoch_seconds) / SHARE
        raise ConfigError(
            f"{minutes:g} min are too short to train anything: reading and preparing the data alone takes "
            f"{duration(preparing)}. Give {math.ceil(10 * least / 60) / 10:g} minutes, or train on a part of "
            "the series (a shorter period, a coarser grid)."
        )
    needed = min(most, math.ceil(LEAST_STEPS / pace.n_steps))
    for width in widths[1:]:
        if left / pace.epoch_seconds >= needed:
            break
        fastest = pace.epoch_seconds * (width / network["n_filters"]) ** 2
        if left / fastest < needed and width != widths[-1]:
            continue
        network["n_filters"] = width
        pace, preparing = _trial(values, dataset)
        left = SHARE * seconds - preparing
    epochs = int(max(left, 0) / pace.epoch_seconds)
    if epochs < 1:
        least = (preparing + pace.epoch_seconds) / SHARE
        raise ConfigError(
            f"{minutes:g} min are too short to train anything: reading and preparing the data takes "
            f"{duration(preparing)}, an epoch of the smallest network ({pace.n_steps} steps) "
            f"{duration(pace.epoch_seconds)}. Give at least {math.ceil(10 * least / 60) / 10:g} minutes, or "
            "train on a part of the series (a shorter period, a coarser grid)."
        )
    trainer["max_epochs"] = min(epochs, most)
    trainer["max_time"] = _clock(seconds)
    for callback in trainer["callbacks"]:
        if callback["class_path"].endswith("WeightAveraging"):
            callback["init_args"]["decay"] = averaging_decay(trainer["max_epochs"] * pace.n_steps)
    return Sized(values, f"On this machine {pace.training(trainer['max_epochs'])}")


def _trial(values: dict[str, Any], dataset: xr.Dataset | None) -> tuple[Pace, float]:
    """Measure an experiment up to its first epoch; also returns the seconds until then."""
    trial = copy.deepcopy(values)
    trial["trainer"] |= {"logger": False, "callbacks": [], "enable_checkpointing": False}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, only_warnings():
        config = Path(folder, "trial.yaml")
        config.write_text(yaml.safe_dump(trial, sort_keys=False))
        try:
            run_experiment("fit", ["--config", str(config)], [_Measuring()], dataset=dataset, bar=_no_bar)
        except _Measured as measured:
            return measured.pace, time.monotonic() - began
    raise ConfigError("The training of the experiment ended before its first epoch.")


def _no_bar() -> None:
    """Make no progress bar."""


def _clock(seconds: float) -> str:
    """Write seconds as days, hours, minutes and seconds, the form of `trainer.max_time`."""
    minutes, rest = divmod(max(round(seconds), 1), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days:02}:{hours:02}:{minutes:02}:{rest:02}"
