"""The search for the best configuration with Optuna, judged on the validation period."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stconv.errors import ConfigError, FileError, StconvError
from stconv.experiments.configuration import config_values
from stconv.experiments.running import run_experiment
from stconv.experiments.search_space import Dimension, read_space, with_values
from stconv.experiments.study import (
    FOLDER,
    is_database,
    lost_trials,
    n_finished,
    n_waiting,
    open_study,
    others_train_the_last,
    queue_lost_trials,
)

if TYPE_CHECKING:
    import optuna

LOOK_SECONDS = 1.0
"""Between two looks at the trials of other processes."""


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        best: Complete trials, best first; `user_attrs["values"]` holds what each was trained with.
        config: File of the best configuration.
    """

    best: list[optuna.trial.FrozenTrial]
    config: Path


def search(
    config: Path,
    space: Sequence[str],
    *,
    n_trials: int,
    timeout_seconds: float | None,
    study_name: str | None,
    storage: str | None,
    metric: str,
    seed: int | None,
    output: Path | None,
    imports: Sequence[str],
    say: Callable[[str], None],
    **options: Any,
) -> Found:
    """Train until a study has its trials, and write the best configuration.

    Args:
        config: Experiment to vary.
        space: Keys with their values, or YAML files of them.
        n_trials: Number of trials in the study.
        timeout_seconds: No trial starts after this time, s; None: no limit.
        study_name: Name of the study; default: that of the configuration.
        storage: See `open_study`.
        metric: Validation score to minimize.
        seed: Seed of the search, for a single process.
        output: File of the best configuration; default: in `FOLDER`.
        imports: Modules that register networks.
        say: Takes a line on each trial.
        **options: `dataset` and `bar` of `ExperimentCLI`.

    Raises:
        ConfigError: Optuna is missing, or space or configuration are not understood.
    """
    if not config.is_file():
        raise FileError(f"No configuration '{config}'.")
    dimensions, values = read_space(space), config_values(config)
    study = open_study(study_name or config.stem, storage, seed)
    began = time.monotonic()

    def over() -> bool:
        return timeout_seconds is not None and time.monotonic() - began > timeout_seconds

    while (n_finished(study) < n_trials or n_waiting(study)) and not over():
        if is_database(storage):
            queue_lost_trials(study)
            if others_train_the_last(study, n_trials):
                time.sleep(LOOK_SECONDS)
                continue
        _one_trial(study, dimensions, values, config.name, metric, imports, say, **options)
    best = [trial for trial in _ranked(study) if trial.value is not None]
    if not best:
        raise ConfigError(f"Study '{study.study_name}' has no complete trial. Allow more trials or time.")
    output = output or FOLDER / f"{study.study_name}.best.yaml"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        f"# Trial {best[0].number} of {len(study.trials)} of study '{study.study_name}': {metric} "
        f"{best[0].value:.6g} on the validation period.\n"
        + yaml.safe_dump(with_values(values, best[0].user_attrs["values"]), sort_keys=False)
    )
    return Found(best, output)


def _ranked(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return sorted(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda trial: trial.value or 0.0)


def _one_trial(
    study: optuna.Study,
    space: Sequence[Dimension],
    config: dict[str, Any],
    name: str,
    metric: str,
    imports: Sequence[str],
    say: Callable[[str], None],
    **options: Any,
) -> None:
    """Train once; a trial that cannot be trained counts as failed, and the first one stops the sweep."""
    import optuna

    from stconv.tracking.sweep import SweepTrial

    numbers = []

    def train(trial: optuna.Trial) -> float:
        numbers.append(trial.number)
        values = {dimension.key: dimension.suggest(trial) for dimension in space}
        trial.set_user_attr("values", values)
        follower = SweepTrial(trial, metric)
        say(f"Trial {trial.number}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_text(yaml.safe_dump(with_values(config, values), sort_keys=False))
            named = [word for module in imports for word in ("--import", module)]
            run_experiment("fit", ["--config", str(file), *named], [follower], say, **options)
        if follower.pruned:
            raise optuna.TrialPruned
        return follower.best

    try:
        study.optimize(train, n_trials=1)
    except StconvError as error:
        if not _ranked(study):
            raise
        say(f"Trial {numbers[-1]} failed: {error}")
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        if not lost_trials(study).intersection(numbers):
            raise
        say(f"Trial {numbers[-1]} gave no sign of life for long; it was taken for lost, and is tried again.")
