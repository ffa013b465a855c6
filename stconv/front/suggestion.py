"""A first experiment for data: `stconv.suggest`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from stconv.errors import ConfigError
from stconv.front.contained import contained
from stconv.front.experiment import Experiment
from stconv.front.inspection import Inspection, inspect
from stconv.front.reading import Reading, grid_spec, names_of
from stconv.front.remedies import said_in_keywords

if TYPE_CHECKING:
    from stconv.front.reading import Data


@contained
def suggest(
    data: Data | Inspection,
    inputs: Sequence[str] | str | None = None,
    targets: Sequence[str] | str | None = None,
    *,
    t_in: int = 5,
    leads: int = 5,
    minutes: float | None = None,
    name: str | None = None,
    **reading: Unpack[Reading],
) -> Experiment:
    """Suggest an experiment: a small network over damped persistence, as large as the data can feed.

    Args:
        data: As for `stconv.inspect`, or its result, whose input steps and leads then count.
        inputs: Variables to forecast from; default: every field.
        targets: Variables to forecast; default: the inputs.
        t_in: Input steps.
        leads: Steps to forecast.
        minutes: Time that the training may take on this machine: a step of the network is measured on the
            data, and its size and the number of epochs are chosen accordingly. None: not limited.
        name: Name of the experiment; default: that of the file or Dataset.
        **reading: As for `stconv.inspect`.

    Returns:
        The experiment, to edit and to `fit`.

    Raises:
        DataError: The data cannot be used as they are, or lack a variable.
        ConfigError: They have too few steps to train on, or `minutes` are too short.
    """
    from stconv.datasets.settings import SourceSettings
    from stconv.experiments.starter import absolute, starter

    grid_spec(reading, suggest)  # refuses what is no keyword
    wanted, outputs = names_of(inputs, "inputs"), names_of(targets, "targets")
    both = None if wanted is None else list(dict.fromkeys([*wanted, *(outputs or ())]))
    if isinstance(data, Inspection):
        if reading:
            raise ConfigError(
                f"The data are inspected already, so `{next(iter(reading))}` has no effect. Give it to "
                "`stconv.inspect`, or give `stconv.suggest` the data themselves."
            )
        found = data
    else:
        found = inspect(data, both, t_in=t_in, leads=leads, **reading)
    source = found.source
    title = name or _title(found.description.files[0])
    with said_in_keywords():
        if isinstance(source, list):
            settings = SourceSettings(paths=absolute(source), grid=found.spec, name=name)
        else:
            settings = SourceSettings(in_memory=True, grid=found.spec, name=title)
        values = starter(found.description, settings, title, wanted, outputs)
    if minutes is not None:
        from stconv.experiments.sizing import fit_into

        values = fit_into(values, minutes, None if isinstance(source, list) else source).values
    return Experiment(values, title, None if isinstance(source, list) else source)


def _title(first: str) -> str:
    """Name of an experiment after its first file; "series" for a Dataset that was never a file."""
    return "series" if first.startswith("the ") else Path(first).stem.replace("*", "") or "series"
