"""The suggested experiment as a file for `stconv fit --config`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from stconv.datasets.settings import SourceSettings
from stconv.errors import ConfigError
from stconv.experiments.starter import absolute, starter

if TYPE_CHECKING:
    from stconv.datasets.inspection.description import Description
    from stconv.datasets.source.grid_spec import GridSpec


def write_starter(
    file: Path, found: Description, paths: Sequence[str], spec: GridSpec, minutes: float | None = None
) -> str:
    """Write the experiment of `starter` for files.

    Args:
        file: YAML file to write; an existing one is kept.
        found: Description of the files by `describe`.
        paths: Paths as given by the user; written as absolute paths.
        spec: Settings with which the files were read.
        minutes: Time that the training may take on this machine, which is measured; None: not limited.

    Returns:
        A sentence on the measured speed; empty without `minutes`.

    Raises:
        ConfigError: The file exists, the source has too few steps to train on, or the time is too short.
    """
    if file.exists():
        raise ConfigError(f"'{file}' exists and is not overwritten. Choose another name, or remove the file.")
    values = starter(found, SourceSettings(paths=absolute(paths), grid=spec), file.stem)
    said = ""
    if minutes is not None:
        from stconv.experiments.sizing import fit_into  # loads torch

        sized = fit_into(values, minutes)
        values, said = sized.values, sized.said
    header = (
        f"# Forecast {', '.join(v.name for v in found.variables)}: {found.n_steps} steps of {found.step}, "
        f"{found.t_in} in, {found.leads} out. Written by `stconv inspect`; edit it as you like.\n"
        f"# stconv fit --config {file.name}\n" + (f"# {said}\n" if said else "")
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(header + yaml.safe_dump(values, sort_keys=False))
    return said
