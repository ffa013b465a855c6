"""Recorded runs: training, test, forecast, and the way of a run to the champion."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError, SplitError, TrackingError
from stconv.front.contained import contained
from stconv.front.model import Model, load
from stconv.front.registry import Version
from stconv.front.scores import Scores
from stconv.tracking.run_layout import (
    BEST_CHECKPOINT,
    CONFIG,
    SCORES,
    TAG_FOLDER,
    TAG_REFIT_OF,
    TAG_TRAINED,
    VERIFICATION,
)
from stconv.tracking.store import RunInfo, download, find_run, list_runs

if TYPE_CHECKING:
    import xarray as xr

    from stconv.front.reading import Data


@dataclass(repr=False)
class Run:
    """A recorded training, tested or not.

    Attributes:
        info: Name, experiment, status, parameters and metrics, as MLflow had them when the run was looked up.
        dataset: Dataset that it was trained on, if that was in memory of this process.
    """

    info: RunInfo
    dataset: xr.Dataset | None = None

    @property
    def id(self) -> str:
        """MLflow's identifier."""
        return self.info.run_id

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.info.name

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.info.experiment

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED."""
        return self.info.status

    @property
    def metrics(self) -> dict[str, float]:
        """Latest value of each metric."""
        return self.info.metrics

    @property
    def folder(self) -> Path:
        """Folder of configuration, checkpoints, bundle and scores, on the machine that trained the run."""
        return Path(self.info.tags.get(TAG_FOLDER, ""))

    @contained
    def model(self) -> Model:
        """Load the model that the run has trained.

        Raises:
            TrackingError: The run has no bundle, because its training did not finish.
        """
        return load(f"runs:/{self.id}")

    @contained
    def test(self, data: xr.Dataset | None = None, *, checkpoint: str | Path | None = None) -> Scores:
        """Score the best checkpoint on the test period, beside the references, as `stconv test` does.

        Args:
            data: Dataset that the run was trained on, if it was in memory and the training in another
                process.
            checkpoint: Checkpoint to test; default: the best one.

        Returns:
            The scores; they are recorded on the run, and `stconv.compare` finds them there.

        Raises:
            ConfigError: The data were a Dataset in memory, and it is not given.
            TrackingError: The run has no checkpoint.
            SplitError: The run is a refit, which has no test period.
        """
        if TAG_REFIT_OF in self.info.tags:
            raise SplitError(
                f"There is no test period: this is a refit, which is trained on all data. Run "
                f"{self.info.tags[TAG_REFIT_OF]}, which it repeats, was verified; see its scores."
            )
        argv = ["--config", str(download(self.id, CONFIG))]
        if checkpoint is None and TAG_TRAINED in self.info.tags:
            argv += ["--ckpt_path", str(_best(self))]
        elif checkpoint is not None:
            argv += ["--ckpt_path", str(checkpoint)]
        from stconv.experiments.running import run_experiment

        done = run_experiment("test", argv, dataset=self.dataset if data is None else data, bar=no_bar)
        result = done.model.verification
        assert result is not None
        self.info = find_run(self.id)
        return Scores(result, Path(self.folder, VERIFICATION))

    @property
    def scores(self) -> Scores:
        """Scores of the latest test.

        Raises:
            TrackingError: The run was not tested.
        """
        from stconv.verification import Verification

        path = download(self.id, SCORES)
        return Scores(Verification.from_netcdf(path), path.parent)

    def forecast(self, data: Data, steps: int | None = None, **options: Any) -> xr.Dataset:
        """Forecast from data; see `Model.forecast`."""
        return self.model().forecast(data, steps, **options)

    @contained
    def refit(self, data: xr.Dataset | None = None, *, say: Callable[[str], None] | None = None) -> Run:
        """Train the verified experiment once more, on all data up to the newest, as `stconv refit` does.

        Args:
            data: Dataset with all data, if the run was trained on one in memory; default: that of the run.
            say: Takes each remark on the way.

        Returns:
            The run of the refit, in the same experiment; `register` and `promote` trust it by the scores of
            this run.

        Raises:
            TrackingError: The run was not tested, or has no bundle or checkpoint.
            DataError: The source is not the one that the run was trained on.
            SkillGateError: Trained until the end of validation, the experiment is worse than this run.
        """
        from stconv.experiments.refitting import refit

        dataset = self.dataset if data is None else data
        return Run(refit(self.id, dataset, *([] if say is None else [say])), dataset)

    @contained
    def register(self, name: str) -> Version:
        """Make the tested run, or a refit, the newest version of a registered model, and its candidate.

        Args:
            name: Name of the registered model; created if it does not exist.

        Raises:
            TrackingError: The run was not tested.
        """
        from stconv.tracking.registry import register

        return Version(name, register(self.id, name))

    def __repr__(self) -> str:
        tested = ", tested" if self.info.tested else ""
        return f"Run {self.info}: {self.status}{tested}"

    def _repr_html_(self) -> str:
        from stconv.front.html import run_html

        return run_html(self.info, self.folder)


class Runs(Sequence[Run]):
    """Recorded runs, newest first: a list that a notebook shows as a table."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = list(runs)

    def __getitem__(self, index: Any) -> Any:
        found = self._runs[index]
        return Runs(found) if isinstance(index, slice) else found

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._runs)) or "no runs"

    def _repr_html_(self) -> str:
        from stconv.front.html import runs_html

        return runs_html([run.info for run in self._runs])


@contained
def runs(experiment: str | None = None, name: str | None = None) -> Runs:
    """List the recorded runs, newest first.

    Args:
        experiment: List runs of this experiment only.
        name: List runs of this name only.

    Raises:
        TrackingError: Nothing is recorded here, or there is no such experiment.
    """
    return Runs([Run(info) for info in list_runs(experiment, name)])


@contained
def find(run: str | None = None, experiment: str | None = None) -> Run:
    """Find a run by its id or name; without one, the newest tested run.

    Raises:
        TrackingError: There is none.
    """
    if run is not None:
        return Run(find_run(run, experiment))
    tested = [info for info in list_runs(experiment) if info.tested]
    if not tested:
        raise TrackingError("There is no tested run. Run `stconv test --config FILE` first.")
    return Run(tested[0])


def train(
    config: str,
    name: str,
    dataset: xr.Dataset | None,
    *,
    progress: bool,
    resume: str | Path | None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train a configuration, as `stconv fit --config` does, and return its run.

    Args:
        config: Configuration, as YAML.
        name: Name of the experiment, unless the configuration states one.
        dataset: The data, if they are in memory.
        progress: Whether to show a progress bar in a notebook or a terminal.
        resume: Checkpoint to go on from.
        say: Takes each remark on the way; default: printed where the progress bar is shown.

    Raises:
        ConfigError: The configuration is not understood, or has no logger that records a run.
    """
    from stconv.experiments.progress import interactive_bar, is_watched
    from stconv.experiments.running import run_experiment
    from stconv.tracking.callbacks import run_logger

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.yaml")
        file.write_text(config, encoding="utf-8")
        argv = ["--config", str(file)] + ([] if resume is None else ["--ckpt_path", str(resume)])
        say = print if say is None and progress and is_watched() else say
        bar = interactive_bar if progress else no_bar
        done = run_experiment("fit", argv, say=say, dataset=dataset, bar=bar)
    logger = run_logger(done.trainer)
    if logger is None:
        raise ConfigError(
            f"The experiment '{name}' has no RunLogger, so that its training was not recorded. Remove "
            "trainer.logger, or set it to stconv.tracking.RunLogger."
        )
    return Run(find_run(logger.run_id), dataset)


def no_bar() -> None:
    """No progress bar."""


def _best(run: Run) -> Path:
    local = run.folder / BEST_CHECKPOINT
    return local if local.is_file() else download(run.id, BEST_CHECKPOINT)
