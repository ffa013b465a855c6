"""The callback of a sweep's trial: reports to the study, and nests the run below the sweep's run."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning import Callback, LightningModule, Trainer

from stconv.errors import ConfigError
from stconv.tracking.callbacks import run_logger
from stconv.tracking.logger import RunLogger
from stconv.tracking.run_layout import TAG_NAME, TAG_PARENT, TAG_SWEEP, TAG_TRIAL

if TYPE_CHECKING:
    import optuna

PARENT, WAIT_SECONDS = "parent_run", 60


class SweepTrial(Callback):
    """Report the metric of each epoch, and stop a training that falls behind.

    Args:
        trial: Trial of Optuna.
        metric: Name of a validation score.

    Attributes:
        best: Smallest value of the metric so far.
        pruned: Whether the training was stopped early.
    """

    def __init__(self, trial: optuna.Trial, metric: str) -> None:
        self._trial, self._metric = trial, metric
        self.best, self.pruned = math.inf, False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nest the run below that of the sweep."""
        logger = run_logger(trainer)
        if logger is None:
            return
        study = self._trial.study
        logger.set_tag(TAG_PARENT, self._parent(logger))
        logger.set_tag(TAG_NAME, f"{study.study_name}-{self._trial.number}")
        logger.set_tag(TAG_TRIAL, str(self._trial.number))
        self._trial.set_user_attr("run_id", logger.run_id)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop if other trials were better at this epoch.

        Raises:
            ConfigError: There is no such metric.
        """
        if trainer.sanity_checking:
            return
        found = trainer.callback_metrics.get(self._metric)
        if found is None:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val_")))
            raise ConfigError(f"There is no metric '{self._metric}'; the validation gives {known}.")
        value = float(found)
        self.best = min(self.best, value)
        self._trial.report(value, trainer.current_epoch)
        if self._trial.should_prune():
            self.pruned = trainer.should_stop = True

    def _parent(self, logger: RunLogger) -> str:
        """The run of the sweep; the first trial creates it, the others wait for it."""
        study = self._trial.study
        deadline = time.monotonic() + WAIT_SECONDS
        while self._trial.number > 0 and PARENT not in study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.2)
        if PARENT not in study.user_attrs:
            parent = RunLogger(
                logger.name, run_name=study.study_name, save_dir=str(Path(logger.root_dir).parent)
            )
            parent.start()
            parent.set_tag(TAG_SWEEP, study.study_name)
            study.set_user_attr(PARENT, parent.run_id)
            parent.finalize("success")
        return str(study.user_attrs[PARENT])
