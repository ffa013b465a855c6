"""Callbacks that store configuration, data, bundle, scores and pictures on a run."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import SaveConfigCallback

from stconv.bundle import code_version, make_bundle
from stconv.bundle.pretrained import save_pretrained
from stconv.errors import TrackingError
from stconv.models import modules_outside
from stconv.pretraining import MaskedFrames
from stconv.results import write_results
from stconv.task import ForecastTask
from stconv.tracking.logger import RunLogger
from stconv.tracking.run_layout import (
    BEST_CHECKPOINT,
    BUNDLE,
    CONFIG,
    DATA,
    DATA_HASH,
    DATA_NAME,
    N_PARAMETERS,
    TAG_ERROR,
    TAG_LAST_READ,
    TAG_READS,
    TAG_TRAINED,
    VERIFICATION,
)
from stconv.tracking.store import find_run
from stconv.tracking.watchdog import Watchdog
from stconv.training import TrainingTask

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule


def run_logger(trainer: Trainer) -> RunLogger | None:
    """The trainer's RunLogger, if it has one."""
    return next((logger for logger in trainer.loggers if isinstance(logger, RunLogger)), None)


class SaveConfigToRun(SaveConfigCallback):
    """Store the configuration, with all defaults, on the run: `stconv fit --config` reads it unchanged.

    A resumed training and a later test add theirs, as `config_fit_2.yaml`,
    `config_test.yaml`.
    """

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, and on a new run the parameters."""
        logger = run_logger(trainer)
        if logger is None:
            return
        command = getattr(stage, "value", stage)  # an enumeration, in spite of its annotation
        text = self.parser.dump(self.config, skip_none=False)
        folder = Path(logger.log_dir)
        name, n = CONFIG, 1
        while logger.continues and (n == 1 or (folder / name).exists()):
            n += 1
            name = f"config_{command}.yaml" if n == 2 and command != "fit" else f"config_{command}_{n}.yaml"
        logger.log_text(name, text)
        if not logger.continues:
            logger.log_hyperparams(yaml.safe_load(text))


class RecordTraining(Callback):
    """Record network, data and end of a training on its run, and write the id of the run into checkpoints."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record network and data, and start the watchdog of the run."""
        self.describe(trainer, pl_module)
        logger = run_logger(trainer)
        if logger is not None and trainer.is_global_zero:
            logger.watchdog = Watchdog(str(logger.run_id))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the id of the run into each checkpoint."""
        logger = run_logger(trainer)
        if logger is not None:
            checkpoint["stconv"] = {"run_id": logger.run_id, "experiment": logger.name}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Record on the run why it ended."""
        logger = run_logger(trainer)
        if logger is not None and trainer.is_global_zero and logger.started:
            logger.interrupted = isinstance(exception, KeyboardInterrupt)
            logger.set_tag(TAG_ERROR, f"{type(exception).__name__}: {exception}"[:1000])

    def describe(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record network and data on the run."""
        logger = run_logger(trainer)
        if logger is None or not trainer.is_global_zero:
            return
        data: GridDataModule = trainer.datamodule  # type: ignore[attr-defined]
        description = data.describe()
        assert isinstance(pl_module, TrainingTask)
        outside = modules_outside(pl_module.network).items()
        modules = {"model.modules": ", ".join(f"{name}: {module}" for name, module in outside)}
        if not logger.continues:
            logger.log_hyperparams(
                {
                    **(modules if outside else {}),
                    **({} if pl_module.start is None else {"start": pl_module.start.to_json()}),
                    DATA_NAME: description.name,
                    DATA_HASH: description.hash,
                    N_PARAMETERS: sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
                }
            )
        logger.log_text(DATA, json.dumps(description.to_json(), indent=2))


class ExportBundle(RecordTraining):
    """Export the best weights after training, and store scores and pictures on the run after a test."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record network and data, and count the reading of the test period."""
        self.describe(trainer, pl_module)
        logger = run_logger(trainer)
        if logger is not None and trainer.is_global_zero:
            count_read(logger)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the best weights, calibrate their bands on the validation period, and export both."""
        logger = _recording(trainer)
        if logger is None:
            return
        take_best(trainer, pl_module, logger)
        assert isinstance(pl_module, ForecastTask)
        pl_module.calibrate()
        self._export(trainer, pl_module, logger, scores=None)
        logger.set_tag(TAG_TRAINED, "true")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the scores as files, as pictures, and into the bundle."""
        logger = run_logger(trainer)
        assert isinstance(pl_module, ForecastTask)
        result = pl_module.verification
        if logger is None or result is None or not trainer.is_global_zero:
            return
        folder = Path(logger.log_dir, VERIFICATION)
        model = {"Model": f"{result.model}, run {logger.run_name or logger.run_id}"}
        write_results(result, pl_module, trainer.datamodule, folder, model)  # type: ignore[attr-defined]
        logger.log_artifact(folder)
        scores = {key: value for key, value in result.to_json().items() if key != "diagnostics"}
        self._export(trainer, pl_module, logger, scores)

    def _export(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        logger: RunLogger,
        scores: dict[str, Any] | None,
    ) -> None:
        assert isinstance(pl_module, ForecastTask)
        folder = Path(logger.log_dir, BUNDLE)
        data: GridDataModule = trainer.datamodule  # type: ignore[attr-defined]
        make_bundle(pl_module, data, scores=scores, name=logger.run_name or logger.name).save(folder)
        logger.log_artifact(folder)


class ExportPretrained(RecordTraining):
    """Export the layers that a pretraining has trained best, in the place of a bundle."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the best weights, and write those that a training can start from."""
        logger = _recording(trainer)
        if logger is None:
            return
        take_best(trainer, pl_module, logger)
        assert isinstance(pl_module, MaskedFrames)
        data: GridDataModule = trainer.datamodule  # type: ignore[attr-defined]
        folder = Path(logger.log_dir, BUNDLE)
        spec = {**pl_module.origin(data.describe()), "code": code_version(), "name": logger.run_name}
        save_pretrained(folder, pl_module.reconstruction.weights(), spec)
        logger.log_artifact(folder)


def _recording(trainer: Trainer) -> RunLogger | None:
    """Return the logger of a training whose weights are to be exported, on the main process."""
    fast_dev_run: bool = trainer.fast_dev_run  # type: ignore[attr-defined]
    return run_logger(trainer) if trainer.is_global_zero and not fast_dev_run else None


def take_best(trainer: Trainer, pl_module: LightningModule, logger: RunLogger) -> None:
    """Load the best weights of a training, if it wrote a checkpoint, and keep them on the run."""
    best = best_checkpoint(trainer)
    if best is None:
        return
    weights = torch.load(best, map_location=pl_module.device, weights_only=True)["state_dict"]
    pl_module.load_state_dict(weights)
    known = Path(logger.log_dir, BEST_CHECKPOINT)  # `stconv test` looks here, whatever the file is called
    if best.resolve() != known.resolve():
        known.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(best, known)
    logger.log_artifact(known)


def best_checkpoint(trainer: Trainer) -> Path | None:
    """The checkpoint with the best validation, if one was written."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
            return Path(callback.best_model_path)
    return None


def count_read(logger: RunLogger) -> None:
    """Record on the run that its test period was read, and how often."""
    try:
        before = int(find_run(logger.run_id).tags.get(TAG_READS, 0))
    except TrackingError:  # a store that does not answer must not stop the test
        before = 0
    logger.set_tag(TAG_READS, str(before + 1))
    logger.set_tag(TAG_LAST_READ, datetime.now(UTC).isoformat(timespec="seconds"))
