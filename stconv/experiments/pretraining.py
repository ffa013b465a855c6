"""The experiment of a configuration without its targets: `stconv pretrain`."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback

from stconv.errors import ConfigError
from stconv.experiments.engine import ExperimentCLI
from stconv.nn.masking import Masking
from stconv.pretraining import MaskedFrames
from stconv.tracking.callbacks import ExportPretrained, run_logger

SUFFIX = "_pretraining"
"""Ends the run name of a pretraining, so that `stconv test` does not take it for a training."""


class PretrainingCLI(ExperimentCLI):
    """Trainer, task and data of `stconv fit`, with the task of reconstructing what is masked."""

    def _exporter(self) -> Callback:
        return ExportPretrained()

    def before_instantiate_classes(self) -> None:
        """Name the run after that of the configuration."""
        super().before_instantiate_classes()
        loggers = self.config[self._command].trainer.logger
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            arguments = getattr(logger, "init_args", None) or {}
            name = arguments.get("run_name")
            if name is not None and not name.endswith(SUFFIX):
                arguments["run_name"] = f"{name}{SUFFIX}"

    def fit(self, **kwargs: Any) -> None:
        """Pretrain; with a checkpoint, resume in the same MLflow run."""
        checkpoint = kwargs.get("ckpt_path")
        if checkpoint in {"best", "last"}:
            raise ConfigError(
                f"--ckpt_path {checkpoint} is for `stconv fit`. Name the file of a pretraining: --ckpt_path "
                "runs/EXPERIMENT/RUN/checkpoints/last.ckpt."
            )
        logger = self._named_logger()
        if logger is not None:
            logger.subject += " pretraining"
        self.resume(checkpoint)
        masking = self.config_init[self._command].masking or Masking()
        task = MaskedFrames(self.model, len(self.datamodule.settings.visible), masking)
        if self.model.freezing.patterns and self.trainer.is_global_zero:
            self._say("freeze is for `stconv fit`: the pretraining trains every layer.")
        self.train(**{**kwargs, "model": task})
        if self.trainer.is_global_zero:
            self._say_result()
        self.say_where()

    def _say_result(self) -> None:
        """Print the errors of the last epoch, and how to go on."""
        found = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        if "val_rmse" in found:
            said = f"RMSE {found['val_rmse']:.3f} (normalized)"
            if "val_skill" in found:
                said += f", skill {100 * found['val_skill']:+.0f} % over their substitutes"
            self._say(f"Masked cells of the validation period, after the last epoch: {said}.")
        logger = run_logger(self.trainer)
        if logger is not None:
            self._say(
                f"To start from these layers: stconv fit --config FILE --init-from runs:/{logger.run_id}"
            )
