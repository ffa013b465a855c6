"""One training of a refit: the configuration of a verified run, with other steps to train on."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from stconv.experiments.engine import ExperimentCLI
from stconv.experiments.running import run_experiment
from stconv.experiments.verified_run import Verified
from stconv.task import ForecastTask, combination_of
from stconv.tracking.callbacks import ExportBundle, run_logger
from stconv.tracking.run_layout import TAG_REFIT_OF, TAG_TRAINED
from stconv.tracking.store import RunInfo
from stconv.uncertainty.conformal import HeldOut, cross_calibrate

SUFFIX = " refit"
"""Ends the name of a refit's run, so that `stconv test` does not take it for the verified one."""


class ExportRefit(ExportBundle):
    """Export a refit, with bands of the rolling origins and the scores of the verified run.

    Args:
        held_out: Models at rolling origins, with windows after their training.
        facts: The key `refit` of the bundle.
        scores: Scores of the verified run.
    """

    def __init__(self, held_out: list[HeldOut], facts: Mapping[str, Any], scores: dict[str, Any]) -> None:
        self._held_out, self._facts, self._scores = held_out, facts, scores

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate, export, and link the run to the verified one."""
        logger = run_logger(trainer)
        if logger is None or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ForecastTask)
        pl_module.refit = dict(self._facts)
        device = pl_module.device
        held_out = [
            HeldOut(part.network.to(device), part.preparation.to(device), part.references)
            for part in self._held_out
        ]
        if pl_module.data.event is None:
            pl_module.bands = cross_calibrate(
                pl_module.network, pl_module.preparation, pl_module.data, held_out
            )
        self._export(trainer, pl_module, logger, self._scores)
        logger.set_tag(TAG_REFIT_OF, str(self._facts["sibling"]))
        logger.set_tag(TAG_TRAINED, "true")


class RefitCLI(ExperimentCLI):
    """Trainer, task and data of `stconv fit`, with the weights of combination of a verified network.

    Args:
        *args: Arguments of `ExperimentCLI`.
        combination: Weights of combination, from `combination_of`.
        exporter: Callback that writes the results to the run.
        **kwargs: Arguments of `ExperimentCLI`.
    """

    def __init__(
        self, *args: Any, combination: list[dict[str, torch.Tensor]], exporter: Callback | None, **kwargs: Any
    ) -> None:
        self._combination, self._given_exporter = combination, exporter
        super().__init__(*args, **kwargs)

    def _exporter(self) -> Callback:
        return self._given_exporter or super()._exporter()

    def train(self, **kwargs: Any) -> None:
        """Let the trainer fit."""
        self.model.combination = self._combination
        super().train(**kwargs)


def train_refit(
    verified: Verified,
    n_steps: int,
    export: ExportRefit | None,
    run: RunInfo | None,
    dataset: xr.Dataset | None,
    say: Callable[[str], None],
) -> ExperimentCLI:
    """Train on the first steps of the series; in a run of its own if there is something to export."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "refit.yaml")
        file.write_text(yaml.safe_dump(refit_values(verified.values, verified.steps, n_steps, run)))
        return run_experiment(
            "fit", ["--config", str(file)], (), say, cli=RefitCLI, exporter=export,
            combination=combination_of(verified.bundle.network), dataset=dataset, bar=lambda: None,
        )  # fmt: skip


def refit_values(values: Mapping[str, Any], steps: int, n_steps: int, run: RunInfo | None) -> dict[str, Any]:
    """Change a configuration into that of a refit.

    Args:
        values: Configuration of the verified run.
        steps: Number of optimizer steps.
        n_steps: Number of steps of the series to train on.
        run: The verified run, in whose experiment the refit is recorded; None for no record.
    """
    found = copy.deepcopy(dict(values))
    found["data"]["split"] = {**(found["data"].get("split") or {}), "refit_steps": n_steps}
    trainer = found["trainer"]
    kept = [
        callback
        for callback in trainer.get("callbacks") or []
        if not str(callback.get("class_path", "")).endswith(("ModelCheckpoint", "EarlyStopping"))
    ]
    trainer |= {
        "max_steps": steps,
        "max_epochs": None,
        "max_time": None,
        "limit_val_batches": 0,
        "enable_checkpointing": False,
        "callbacks": kept or None,
    }
    if run is None:
        trainer["logger"] = False
    else:
        arguments = {"experiment_name": run.experiment, "run_name": f"{run.name}{SUFFIX}"}
        trainer["logger"] = {"class_path": "stconv.tracking.RunLogger", "init_args": arguments}
    return found
