"""An experiment: trainer, task and data from a configuration, and one Lightning command on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import torch
import xarray as xr
import yaml
from jsonargparse import Namespace
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.trainer.states import TrainerStatus

import stconv.losses
import stconv.models  # noqa: F401 - configurations name networks and losses by their short names
from stconv.datasets.datamodule import GridDataModule
from stconv.errors import ConfigError, FileError, TrackingError
from stconv.experiments.budget import ENDLESS, TrainingTime, as_timedelta
from stconv.experiments.former_keys import grouped, grouped_options, warn_of_former_networks
from stconv.experiments.progress import progress_bar
from stconv.experiments.resuming import RESUME, ResumePoint
from stconv.models.transfer import take_weights
from stconv.nn.masking import Masking
from stconv.sharding import refuse_flattening
from stconv.task import ForecastTask
from stconv.tracking.callbacks import ExportBundle, SaveConfigToRun, best_checkpoint, run_logger
from stconv.tracking.logger import RunLogger
from stconv.tracking.registry import resolve_bundle
from stconv.tracking.run_layout import TAG_FOLDER, TAG_TRAINED, checkpoint_path
from stconv.tracking.store import RunInfo, download, list_runs

SIZES = ("c_in", "c_out", "t_in", "leads")
"""Arguments of a network that are linked to the data."""
PARSER_MODE = "stconv"
"""Name of our YAML reader in jsonargparse."""
WRAPPERS = 5
"""Deepest nesting of wrapper networks in a configuration."""


def silence(text: str) -> None:
    """Say nothing."""


def _load(text: str) -> Any:
    """Read YAML as jsonargparse does; former keys of the data section are moved into their groups."""
    value = jsonargparse.get_loader("yaml")(text)
    warn_of_former_networks(value)
    return grouped(value) if isinstance(value, dict) else value


class ExperimentCLI(LightningCLI):
    """Lightning's command line with one command, our logger, and sizes linked from data to network.

    Args:
        command: fit, validate, test or predict.
        argv: Command line words after the command.
        callbacks: Callbacks of the trainer, in addition to those of the configuration.
        say: Takes each remark on the way, such as which checkpoint is used.
        dataset: The data, if the configuration says that they are in memory.
        bar: Makes the progress bar, for a configuration without one; None for no bar.

    Attributes:
        forecast_file: File that `predict` has written.
    """

    def __init__(
        self,
        command: str,
        argv: list[str],
        callbacks: Sequence[Callback] = (),
        say: Callable[[str], None] = silence,
        dataset: xr.Dataset | None = None,
        bar: Callable[[], ProgressBar | None] = progress_bar,
    ) -> None:
        self._command, self._say, self._dataset, self._bar = command, say, dataset, bar
        self.forecast_file: Path | None = None
        jsonargparse.set_loader(PARSER_MODE, _load, (yaml.YAMLError,))
        kwargs: dict[str, Any] = {"exit_on_error": False, "parser_mode": PARSER_MODE}
        super().__init__(
            ForecastTask,
            GridDataModule,
            save_config_callback=SaveConfigToRun,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={"callbacks": [self._exporter(), *callbacks]},
            seed_everything_default=0,
            parser_kwargs={**kwargs, "prog": "stconv", command: dict(kwargs)},
            args=[command, *grouped_options(argv)],
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def _exporter(self) -> Callback:
        """Make the callback that writes the results of the command to the run."""
        return ExportBundle()

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The requested command alone; the parser of each other command would cost a second."""
        return {self._command: LightningCLI.subcommands()[self._command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the sizes of the network to the data, also inside wrappers such as Increment."""
        parser.add_argument(
            "--import",
            type=str | list[str],
            default=[],
            help="Modules or .py files that register your own networks; imported first.",
        )
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="A bundle (folder, runs:/..., models:/...) or a pretraining (folder, runs:/...) whose "
            "weights a training starts from, layer by layer where names and shapes fit; only `fit` looks at "
            "it.",
        )
        parser.add_argument(
            "--masking",
            type=Masking | None,
            default=None,
            help="The part of each window that `pretrain` masks; no other command looks at it.",
        )
        for depth in range(1, WRAPPERS + 2):
            path = "model" + ".network.init_args" * depth
            for size in SIZES:
                parser.link_arguments(f"data.{size}", f"{path}.{size}", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Do nothing: the configuration is complete, and our checkpoints hold no arguments."""

    def before_instantiate_classes(self) -> None:
        """Add our logger, named after the configuration, unless there is a logger."""
        config = self.config[self._command]
        if config.trainer.logger in (None, True):
            files = [str(path) for path in config.get("config") or []]
            stem = Path(files[-1]).stem if files else "experiment"
            config.trainer.logger = Namespace(
                class_path="stconv.tracking.RunLogger",
                init_args=Namespace(
                    experiment_name=stem, run_name=stem, run_id=None, tags=None, save_dir="runs"
                ),
            )

    def instantiate_classes(self) -> None:
        """Hand the data module its Dataset, if the data are in memory."""
        super().instantiate_classes()
        self.datamodule.dataset = self._dataset

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add a progress bar, unless the configuration has one or disables it, and the time of a training.

        `trainer.max_time` is a budget that the number of epochs and the schedule follow; Lightning would stop
        in the middle of both.

        Raises:
            ConfigError: The strategy cannot be used.
        """
        config = self.config_init[self._command].trainer
        refuse_flattening(config.strategy)
        has_one = any(isinstance(callback, ProgressBar) for callback in config.callbacks or [])
        if config.enable_progress_bar is not False and not has_one:
            bar = self._bar()
            if bar is None:
                config.enable_progress_bar = False
            else:
                self.trainer_defaults["callbacks"].append(bar)
        budget = as_timedelta(config.max_time)
        # Every command has it, because its state is in the checkpoints that the other ones load.
        self.trainer_defaults["callbacks"] += [TrainingTime(self._say, budget), ResumePoint()]
        if self._command == "fit" and budget is not None:
            kwargs |= {"max_time": None, "max_epochs": config.max_epochs or ENDLESS}
        return super().instantiate_trainer(**kwargs)

    def fit(self, **kwargs: Any) -> None:
        """Train; with a checkpoint, resume in the same MLflow run."""
        self._named_logger()
        checkpoint = kwargs.get("ckpt_path")
        if checkpoint == RESUME:
            checkpoint = kwargs["ckpt_path"] = self._resume_point()
        elif checkpoint in {"best", "last"}:
            checkpoint = kwargs["ckpt_path"] = self._checkpoint_of_latest(checkpoint)
        self.resume(checkpoint)
        source = self.config[self._command].init_from
        if source is not None and checkpoint is None:  # a checkpoint has weights that went on from there
            self._start_from(source)
        self.train(**kwargs)
        self.say_where()

    def train(self, **kwargs: Any) -> None:
        """Let the trainer fit.

        Raises:
            KeyboardInterrupt: The training was interrupted; the message says what it leaves.
        """
        try:
            self.trainer.fit(**kwargs)
        except SystemExit as error:  # Lightning ends the process after Ctrl-C; a notebook must live on
            if self.trainer.state.status != TrainerStatus.INTERRUPTED:
                raise
            raise KeyboardInterrupt(_interrupted(self.trainer, run_logger(self.trainer))) from error

    def resume(self, checkpoint: str | Path | None) -> None:
        """Continue the run of a checkpoint, if there is one."""
        logger = run_logger(self.trainer)
        if checkpoint is not None and logger is not None:
            run_id = _run_of(checkpoint)
            if run_id is not None:
                logger.attach(run_id, keep_status=False)

    def say_where(self) -> None:
        """Print the run and its folder."""
        logger = run_logger(self.trainer)
        if logger is not None and self.trainer.is_global_zero:
            self._say(f"Run {logger.run_id} is recorded in {logger.log_dir}.")

    def _start_from(self, source: str) -> None:
        """Take the weights of a bundle or of a pretraining over, and say which."""
        from stconv.bundle.pretrained import load_weights

        found = load_weights(resolve_bundle(source))
        self.model.start = take_weights(self.model.network, found.tensors, source, found.hash)
        if self.trainer.is_global_zero:
            self._say(str(self.model.start))

    def validate(self, **kwargs: Any) -> None:
        """Score the best checkpoint on the validation period."""
        self.trainer.validate(**self._trained(kwargs))

    def test(self, **kwargs: Any) -> None:
        """Score the best checkpoint on the test period; the scores are `model.verification`."""
        kwargs["verbose"] = False
        self.trainer.test(**self._trained(kwargs))

    def predict(self, **kwargs: Any) -> None:
        """Forecast from the newest window, and write the forecast to the folder of the run."""
        from stconv.bundle import make_bundle
        from stconv.forecast import Forecaster, write_forecast

        self.trainer.limit_predict_batches = 0  # loads the checkpoint; the Forecaster forecasts
        self.trainer.predict(**self._trained({**kwargs, "return_predictions": False}))
        self.model.calibrate()
        data, logger = self.datamodule, run_logger(self.trainer)
        folder = Path(logger.log_dir if logger else self.trainer.default_root_dir)
        ds, origin = data.open()
        bundle = make_bundle(self.model, data, try_tiles=False)  # for one forecast in this process
        forecast = Forecaster(bundle).forecast(ds, origin=origin)
        self.forecast_file = write_forecast(forecast, folder / "forecast.nc")

    def _named_logger(self) -> RunLogger | None:
        """The logger; a run that the configuration does not name is named after the network."""
        logger = run_logger(self.trainer)
        if logger is not None:
            logger.subject = self.model.network.display_name
        return logger

    def _trained(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Find the checkpoint, and continue the run it belongs to."""
        checkpoint = kwargs.get("ckpt_path")
        logger = self._named_logger()
        if checkpoint is None and not self.model.has_parameters:
            return kwargs
        if checkpoint in {None, "best", "last"}:
            checkpoint = self._checkpoint_of_latest(checkpoint or "best")
        run_id = _run_of(checkpoint)
        if run_id is not None and logger is not None:
            logger.attach(run_id, keep_status=True)
        return {**kwargs, "ckpt_path": str(checkpoint)}

    def _resume_point(self) -> str | None:
        """Find where the newest run of this configuration was stopped; None if it was not."""
        logger = self._logger_of_runs()
        try:
            runs = list_runs(logger.name, logger.run_name)
        except TrackingError:  # nothing was trained yet
            runs = []
        path = Path(runs[0].tags.get(TAG_FOLDER, ""), checkpoint_path(RESUME)) if runs else Path()
        if path.is_file():
            self._say(f"Run {runs[0]} goes on where it was stopped.")
            return str(path)
        self._say("No training of this configuration was stopped: this one begins at the start.")
        return None

    def _logger_of_runs(self) -> RunLogger:
        logger = run_logger(self.trainer)
        if logger is None:
            raise ConfigError(
                "This configuration has no RunLogger, so its latest run cannot be found. Name a "
                "checkpoint: --ckpt_path FILE."
            )
        return logger

    def _checkpoint_of_latest(self, which: str) -> str:
        """Find a checkpoint of the latest finished run that this configuration trained."""
        run = _latest_trained(self._logger_of_runs())
        inside = checkpoint_path(which)
        local = Path(run.tags.get(TAG_FOLDER, ""), inside)
        try:
            path = local if local.is_file() else download(run.run_id, inside)
        except TrackingError as error:
            raise FileError(
                f"Run {run} has no {which} checkpoint: a training without validation "
                "(trainer.check_val_every_n_epoch above max_epochs?) or without ModelCheckpoint writes none. "
                f"Train it longer, or name a checkpoint: --ckpt_path last, --ckpt_path FILE.\n{error}"
            ) from error
        self._say(f"Using the {which} checkpoint of run {run}.")
        return str(path)


def _interrupted(trainer: Trainer, logger: RunLogger | None) -> str:
    """Say what an interrupted training leaves."""
    when = f"The training was interrupted in epoch {trainer.current_epoch + 1}"
    if logger is None:
        return f"{when}."
    run, best = f"{when}; run {logger.run_id} is marked KILLED", best_checkpoint(trainer)
    if best is None:
        return f"{run}. It had no checkpoint yet."
    return f"{run}. Its best checkpoint is kept: {best}. Give that file to go on from there, or to test it."


def _latest_trained(logger: RunLogger) -> RunInfo:
    """Find the latest finished training with the experiment and run name of a configuration."""
    what = f"experiment '{logger.name}'" + (f", run name '{logger.run_name}'" if logger.run_name else "")
    advice = "Run `stconv fit` with this configuration first, or name a checkpoint: --ckpt_path FILE."
    try:
        runs = list_runs(logger.name, logger.run_name)
    except TrackingError as error:
        raise TrackingError(f"Nothing has been trained yet ({what}). {advice}\n{error}") from error
    trained = [run for run in runs if TAG_TRAINED in run.tags and run.status == "FINISHED"]
    if not trained:
        unfinished = ", ".join(f"{run.run_id[:8]} {run.status}" for run in runs)
        found = f"; found only {unfinished}" if unfinished else ""
        raise TrackingError(f"No finished training of {what}{found}. {advice}")
    return trained[0]


def _run_of(checkpoint: str | Path) -> str | None:
    """Find the MLflow run of a checkpoint."""
    path = Path(checkpoint)
    if not path.is_file():
        raise FileError(
            f"No checkpoint '{path}'. The checkpoints of a run are in runs/EXPERIMENT/RUN/checkpoints."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many types for damaged files
        raise FileError(f"'{path}' is not a checkpoint of stconv: {error}") from error
    return content.get("stconv", {}).get("run_id") if isinstance(content, dict) else None
