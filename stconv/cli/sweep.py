"""`stconv sweep`: search for the best configuration with Optuna, judged on the validation period."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

    from stconv.cli.search_space import Dimension

EPILOG = """examples:
  stconv sweep --config my.yaml --trials 30 --space model.optimizer.init_args.lr=1e-4:1e-2:log
  stconv sweep --config my.yaml --space space.yaml --timeout 3600 --study width
  stconv sweep --config my.yaml --space space.yaml --storage postgresql+psycopg2://...  several machines

A range is KEY=LOW:HIGH (of integers if both are integers) or KEY=LOW:HIGH:log. Choices are KEY=A,B,C.
In space.yaml the same is written as

  model.optimizer.init_args.lr: 1.0e-4:1.0e-2:log
  model.network.init_args.dilations: [[1, 2], [1, 2, 4]]

The same command resumes the study; any number of processes can work on it at once. Trials that fall
behind are stopped early. The test period is not read: test the best configuration with `stconv fit` and
`stconv test`.
"""
FOLDER = Path("runs", "sweeps")
SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv sweep`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("-c", "--config", required=True, metavar="FILE", help="experiment to vary")
    add(
        "--space",
        required=True,
        nargs="+",
        metavar="SPACE",
        help="keys with their values, or a YAML file of them",
    )
    add(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="number of trials in the study (default: %(default)s)",
    )
    add("--timeout", type=float, metavar="SECONDS", help="start no trial after this time")
    add("--study", metavar="NAME", help="name of the study (default: that of the configuration)")
    add(
        "--storage", metavar="WHERE", help="database URL or journal file (default: runs/sweeps/STUDY.journal)"
    )
    add("--metric", default="val_rmse", help="validation score to minimize (default: %(default)s)")
    add("--seed", type=int, metavar="N", help="seed of the search, for a single process")
    add(
        "--output",
        metavar="FILE",
        help="file of the best configuration (default: runs/sweeps/STUDY.best.yaml)",
    )


def run(args: argparse.Namespace) -> int:
    """Search, and write the best configuration.

    Raises:
        ConfigError: Optuna is missing, or space, configuration or metric are not understood.
    """
    import yaml

    from stconv.cli.search_space import read_space, with_values
    from stconv.errors import ConfigError, FileError

    path = Path(args.config)
    if not path.is_file():
        raise FileError(f"No configuration '{path}'.")
    if not args.metric.startswith("val_"):
        raise ConfigError(f"--metric is {args.metric}; expected a validation score, such as val_rmse.")
    space, config = read_space(args.space), yaml.safe_load(path.read_text())
    study = open_study(args.study or path.stem, args.storage, args.seed)
    began = time.monotonic()
    while _finished(study) < args.trials:
        if args.timeout is not None and time.monotonic() - began > args.timeout:
            break
        _one_trial(study, space, config, path.name, args.metric, args.imports)
    best = [trial for trial in _ranked(study) if trial.value is not None]
    if not best:
        raise ConfigError(f"Study '{study.study_name}' has no complete trial. Allow more trials or time.")
    output = Path(args.output) if args.output else FOLDER / f"{study.study_name}.best.yaml"
    output.parent.mkdir(parents=True, exist_ok=True)
    values = best[0].user_attrs["values"]
    output.write_text(
        f"# Trial {best[0].number} of {len(study.trials)} of study '{study.study_name}': {args.metric} "
        f"{best[0].value:.6g} on the validation period.\n"
        + yaml.safe_dump(with_values(config, values), sort_keys=False)
    )
    print(f"{args.metric:>12}  trial")
    for trial in best[:SHOWN]:
        settings = ", ".join(f"{key}={value}" for key, value in trial.user_attrs["values"].items())
        print(f"{trial.value:>12.6g}  {trial.number}: {settings}")
    print(f"Best configuration: {output}")
    return 0


def open_study(name: str, storage: str | None, seed: int | None = None) -> optuna.Study:
    """Open a study, or begin it.

    Args:
        name: Name of the study.
        storage: Database URL, or path of a journal that several processes may write; None: in `FOLDER`.
        seed: Seed of the sampler.

    Raises:
        ConfigError: Optuna is not installed.
    """
    from stconv.errors import ConfigError

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
) -> None:
    """Train once; a trial that cannot be trained counts as failed, and the first one stops the sweep."""
    import yaml
    from optuna.trial import TrialState

    from stconv.cli.lightning import run_experiment
    from stconv.cli.search_space import with_values
    from stconv.errors import StconvError
    from stconv.tracking.sweep import SweepTrial

    trial = study.ask()
    values = {dimension.key: dimension.suggest(trial) for dimension in space}
    trial.set_user_attr("values", values)
    follower = SweepTrial(trial, metric)
    print(f"Trial {trial.number}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_text(yaml.safe_dump(with_values(config, values), sort_keys=False))
            named = [word for module in imports for word in ("--import", module)]
            run_experiment("fit", ["--config", str(file), *named], [follower])
    except StconvError as error:
        study.tell(trial, state=TrialState.FAIL)
        if not _ranked(study):
            raise
        print(f"Trial {trial.number} failed: {error}")
        return
    except BaseException:  # interrupted, or a fault of ours: nobody waits for this trial
        study.tell(trial, state=TrialState.FAIL)
        raise
    if follower.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, follower.best)
