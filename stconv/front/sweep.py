"""The search for the best configuration: `Experiment.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trial:
    """A complete trial of a sweep.

    Attributes:
        number: Its number in the study.
        score: Its validation score; less is better.
        values: Values of the varied settings, by key.
    """

    number: int
    score: float
    values: dict[str, Any]


@dataclass(frozen=True, repr=False)
class Sweep:
    """The result of a sweep.

    Attributes:
        metric: Name of the validation score.
        trials: Complete trials, best first.
        config: File of the best configuration, for `Experiment.from_yaml`.
    """

    metric: str
    trials: Sequence[Trial]
    config: Path

    @property
    def table(self) -> pd.DataFrame:
        """A row for each trial, best first."""
        import pandas as pd

        rows = [{"trial": trial.number, self.metric: trial.score, **trial.values} for trial in self.trials]
        return pd.DataFrame(rows).set_index("trial")

    def text(self, most: int | None = None) -> str:
        """The best trials, one a line.

        Args:
            most: Number of trials; default: all.
        """
        lines = [f"{self.metric:>12}  trial"]
        for trial in self.trials[:most]:
            settings = ", ".join(f"{key}={value}" for key, value in trial.values.items())
            lines.append(f"{trial.score:>12.6g}  {trial.number}: {settings}")
        return "\n".join([*lines, f"Best configuration: {self.config}"])

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        from stconv.front.html import sweep_html

        return sweep_html(self.table, str(self.config))


def sweep(
    config: str | Path,
    space: Sequence[str],
    *,
    trials: int = 20,
    timeout: float | None = None,
    study: str | None = None,
    storage: str | None = None,
    metric: str = "val_rmse",
    seed: int | None = None,
    output: str | Path | None = None,
    imports: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Sweep:
    """Search for the best configuration with Optuna, and write it.

    Args:
        config: Experiment to vary.
        space: Keys with their values, or YAML files of them.
        trials: Number of trials in the study.
        timeout: Start no trial after this time, s.
        study: Name of the study; default: that of the configuration.
        storage: Database URL or journal file; default: runs/sweeps/STUDY.journal.
        metric: Validation score to minimize.
        seed: Seed of the search, for a single process.
        output: File of the best configuration; default: runs/sweeps/STUDY.best.yaml.
        imports: Modules that register networks.
        say: Takes a line on each trial.
        **options: `dataset` and `bar` of `stconv.experiments.engine.ExperimentCLI`.

    Raises:
        ConfigError: Optuna is missing, or space, configuration or metric are not understood.
    """
    from stconv.experiments.engine import silence
    from stconv.experiments.search import search

    if not metric.startswith("val_"):
        raise ConfigError(f"--metric is {metric}; expected a validation score, such as val_rmse.")
    found = search(
        Path(config),
        space,
        n_trials=trials,
        timeout_seconds=timeout,
        study_name=study,
        storage=storage,
        metric=metric,
        seed=seed,
        output=None if output is None else Path(output),
        imports=imports,
        say=say or silence,
        **options,
    )
    best = [Trial(trial.number, float(trial.value or 0), trial.user_attrs["values"]) for trial in found.best]
    return Sweep(metric, best, found.config)
