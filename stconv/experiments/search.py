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
from stconv.experiments.running import run_experiment
from stconv.experiments.search_space import Dimension, read_space, with_values

if TYPE_CHECKING:
    import optuna

FOLDER = Path("runs", "sweeps")


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
    dimensions, values = read_space(space), yaml.safe_load(config.read_text())
    study = open_study(study_name or config.stem, storage, seed)
    began = time.monotonic()
    while _finished(study) < n_trials:
        if timeout_seconds is not None and time.monotonic() - began > timeout_seconds:
            break
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


def open_study(name: str, storage: str | None, seed: int | None = None) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        name: Name of the study.
        storage: Database URL, or path of a journal that several processes may write; None: in `FOLDER`.
        seed: Seed of the sampler.

    Raises:
        ConfigError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ConfigError(
            "`stconv sweep` needs Optuna, which is not installed: pip install 'stconv[sweep]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where: Any = storage
    if storage is None or "://" not in storage:
        journal = Path(storage) if storage else FOLDER / f"{name}.journal"
        journal.parent.mkdir(parents=True, exist_ok=True)
        where = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(
        study_name=name,
        storage=where,
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )


def _finished(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


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
    from optuna.trial import TrialState

    from stconv.tracking.sweep import SweepTrial

    trial = study.ask()
    values = {dimension.key: dimension.suggest(trial) for dimension in space}
    trial.set_user_attr("values", values)
    follower = SweepTrial(trial, metric)
    say(f"Trial {trial.number}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_text(yaml.safe_dump(with_values(config, values), sort_keys=False))
            named = [word for module in imports for word in ("--import", module)]
            run_experiment("fit", ["--config", str(file), *named], [follower], say, **options)
    except StconvError as error:
        study.tell(trial, state=TrialState.FAIL)
        if not _ranked(study):
            raise
        say(f"Trial {trial.number} failed: {error}")
        return
    except BaseException:  # interrupted, or a fault of ours: nobody waits for this trial
        study.tell(trial, state=TrialState.FAIL)
        raise
    if follower.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, follower.best)
