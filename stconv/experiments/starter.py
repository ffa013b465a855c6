"""A first experiment for a source that `inspect` has described.

The choices did well on the data of `configs/README.md`: a small network that forecasts the difference from
damped persistence of the anomaly, with a size that follows the number of training windows, averaged weights,
and as many optimizer steps as a laptop takes in some minutes. Where most values of a target are zero (rain,
counts), the network forecasts a distribution instead of its mean alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.datasets.inspection.advice import FEW_WINDOWS
from stconv.datasets.preparation.settings import PreparationSettings, StaticField
from stconv.datasets.remote.address import address_of
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import ConfigError
from stconv.plain import stated

if TYPE_CHECKING:
    from stconv.datasets.inspection.description import Description, VariableSummary

MANY_WINDOWS = 1000
"""A network of full size needs at least this many training windows."""
LARGEST_STEPS, LEAST_STEPS = 1000, 400
"""Optimizer steps of a training: more overfit, fewer underfit."""
MANY_STEPS = 1000
"""A training of so many steps has time to forget its beginning in weights averaged over 200 steps."""
MOST_EPOCHS = 30
CELLS_AT_ONCE = 40_000
"""Cells in a batch, which fit a few GiB of memory."""
FLOPS = 3e13
"""Cost of a whole training: some ten minutes on two cores."""
MEMBERS = 16
"""Number of quantiles of a target that is mostly zero."""
MOST_FRAMES = 12
"""Frames in the regression on the past; its cost grows with the square of their number."""
SHORTEST_GRID = 12
"""Cells along lat and lon below which a U-Net's coarser grids are useless."""


def averaging_decay(n_steps: int) -> float:
    """Decay of the averaged weights that suits a training of so many steps."""
    return 0.995 if n_steps >= MANY_STEPS else 0.98


def absolute(paths: Sequence[str]) -> list[str]:
    """Return paths, patterns and addresses that mean the same from any working directory."""
    return [str(address_of(path) or Path(path).expanduser().absolute()) for path in paths]


def starter(
    found: Description,
    source: SourceSettings,
    name: str,
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Suggest a self-contained experiment: a small network over damped persistence.

    Args:
        found: Description of the source by `describe`.
        source: The source, as it was read for the description.
        name: Name of the experiment.
        inputs: Variables to forecast from; default: all that were described.
        targets: Variables to forecast; default: the inputs.

    Returns:
        The configuration as plain values, in the form of YAML.

    Raises:
        ConfigError: The source has too few steps to train on.
    """
    if found.n_training_windows == 0:
        raise ConfigError(
            f"No experiment for {found.files[0]}: its {found.n_steps} step(s) leave no training window of "
            f"{found.t_in} + {found.leads} steps. Give more files, or reduce --t-in or --leads."
        )
    split = _split(found)
    rows, columns = (axis.size for axis in found.axes)
    skewed = [v for v in found.variables if v.rain_like and v.name in (targets or inputs or [v.name])]
    network, flops = _network(found, rows, columns, bool(skewed))
    batch_size = max(1, min(16, CELLS_AT_ONCE // (rows * columns), math.ceil(found.n_training_windows / 8)))
    batches = math.ceil(found.n_training_windows / batch_size)
    affordable = int(FLOPS / (flops * batch_size))
    steps = max(min(LARGEST_STEPS, affordable), min(LEAST_STEPS, batches))
    epochs = min(MOST_EPOCHS, max(1, round(steps / batches)))
    return {
        "seed_everything": 0,
        "data": _data(found, source, split, batch_size, inputs, targets),
        "model": {
            "network": network,
            "loss": _loss(bool(skewed)),
            "optimizer": {
                "class_path": "stconv.optimizers.Muon",
                "init_args": {"lr": 0.003, "weight_decay": 0.05},
            },
            "lr_scheduler": {"class_path": "stconv.schedules.WarmupCosine"},
            **_scoring(skewed),
        },
        "trainer": {
            "accelerator": "auto",
            "max_epochs": epochs,
            "gradient_clip_val": 1.0,
            "log_every_n_steps": 10,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "logger": {"class_path": "stconv.tracking.RunLogger", "init_args": {"experiment_name": name}},
            "callbacks": [
                {
                    "class_path": "pytorch_lightning.callbacks.ModelCheckpoint",
                    "init_args": {"monitor": "val_loss", "filename": "best", "save_last": True},
                },
                {
                    "class_path": "stconv.task.WeightAveraging",
                    "init_args": {"decay": averaging_decay(epochs * batches)},
                },
            ],
        },
    }


def _data(
    found: Description,
    source: SourceSettings,
    split: SplitSpec,
    batch_size: int,
    inputs: Sequence[str] | None,
    targets: Sequence[str] | None,
) -> dict[str, Any]:
    if not found.filled_steps:
        source = replace(source, grid=replace(source.grid, fill_gaps=0))
    window = WindowSettings(t_in=found.t_in, leads=found.leads)
    preparation = stated(_preparation(found, inputs, targets))
    if targets is None:
        del preparation["targets"]  # the default: the inputs
    return {
        "source": stated(source),
        "window": {"t_in": window.t_in, "leads": window.leads},
        "split": {"fractions": split.fractions, **({} if split.purge is None else {"purge": split.purge})},
        "preparation": preparation,
        "loading": {"batch_size": LoadingSettings(batch_size).batch_size},
    }


def _split(found: Description) -> SplitSpec:
    """Choose a split whose periods all have a window.

    Raises:
        ConfigError: Validation or test is shorter than the leads.
    """
    few = found.n_training_windows < FEW_WINDOWS  # the default purge would cost too many windows
    split = SplitSpec(purge=found.leads if few else None)
    n_steps = found.n_steps + found.filled_steps
    periods = split.apply(range(n_steps), found.t_in + found.leads)
    if min(len(periods.val), len(periods.test)) < found.leads:
        raise ConfigError(
            f"No experiment for {found.files[0]}: of its {n_steps} steps the validation has "
            f"{len(periods.val)} and the test {len(periods.test)}, fewer than the {found.leads} leads of a "
            "window. Give more files, or reduce --leads."
        )
    return split


def _preparation(
    found: Description, inputs: Sequence[str] | None, targets: Sequence[str] | None
) -> PreparationSettings:
    inputs = tuple(inputs or (variable.name for variable in found.variables))
    gappy = found.filled_steps or any(variable.missing_share > 0 for variable in found.variables)
    position: tuple[StaticField, ...] = (
        ("latitude", "longitude") if found.grid.startswith("latitude") else ("position",)
    )
    without_cycle = {variable.name for variable in found.variables if variable.persistence_gain is not None}
    return PreparationSettings(
        inputs=inputs,
        targets=tuple(targets or ()),
        scaling="zscore" if without_cycle.issuperset(targets or inputs) else "anomaly",
        impute="neighbors",
        mask_channel=bool(gappy),
        static_fields=(*position, "climate"),
        time_features=True,
        weekly_cycle=any(variable.weekly_gain is not None for variable in found.variables),
        bounds={
            variable.name: [0, None]
            for variable in found.variables
            if (variable.never_negative or variable.rain_like) and variable.name in (targets or inputs)
        },
    )


def _loss(skewed: bool) -> dict[str, Any]:
    if not skewed:
        return {"class_path": "stconv.losses.MaskedMSE"}
    return {"class_path": "stconv.losses.CRPS", "init_args": {"squared_error": 1.0}}


def _scoring(skewed: Sequence[VariableSummary]) -> dict[str, Any]:
    """Score amounts above a usual one, and above four times as much, of targets that are mostly zero."""
    thresholds = {}
    for variable in skewed:
        assert variable.mean is not None
        assert variable.maximum is not None
        usual = one_two_five(variable.mean / (1 - variable.zero_share)) if variable.zero_share < 1 else 0.0
        values = [value for value in (usual, 4 * usual) if 0 < value < variable.maximum]
        if values:
            thresholds[variable.name] = values
    return {"scoring": {"thresholds": thresholds}} if thresholds else {}


def one_two_five(value: float) -> float:
    """Return the nearest of ..., 0.1, 0.2, 0.5, 1, 2, 5, 10, ..., by ratio, to a number above 0."""
    tens = math.floor(math.log10(value))
    candidates = [float(f"{digit}e{power}") for power in (tens, tens + 1) for digit in (1, 2, 5)]
    return min(candidates, key=lambda candidate: abs(math.log(candidate / value)))


def _network(found: Description, rows: int, columns: int, skewed: bool) -> tuple[dict[str, Any], float]:
    """Choose the network; also returns the approximate FLOPs of a training step per window."""
    many, few = found.n_training_windows >= MANY_WINDOWS, found.n_training_windows < FEW_WINDOWS
    width = 32 if many else 8 if few else 16
    dropout = 0.2 if many else 0.3
    if few or min(rows, columns) < SHORTEST_GRID:
        dilations = [1, 2] if few else [1, 2, 1]
        inner = {
            "class_path": "stconv.models.ResNet2D",
            "init_args": {"dilations": dilations, "n_filters": width, "dropout": dropout},
        }
        convolutions = 2 * len(dilations) + 1.0
    else:
        inner = {
            "class_path": "stconv.models.UNet",
            "init_args": {"n_levels": 2, "n_filters": width, "n_blocks": 3, "dropout": dropout},
        }
        convolutions = 2 * 2 + 1 + 2 * 3 * 1.5**2 / 4
    flops = 3 * 2 * 9 * width**2 * (convolutions + 1) * rows * columns  # backward costs twice forward
    if skewed:
        quantiles = {"n_members": MEMBERS, "network": inner}
        inner = {"class_path": "stconv.models.Quantiles", "init_args": quantiles}
    start = {"grid": [rows, columns], "neighbors": True, "frames": min(found.t_in, MOST_FRAMES)}
    network = {"class_path": "stconv.models.LinearResidual", "init_args": {**start, "network": inner}}
    return network, flops
