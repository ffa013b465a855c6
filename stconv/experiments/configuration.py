"""The classes behind the sections of a configuration, and the modules of a user's networks that it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stconv.errors import ConfigError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from stconv.datasets.datamodule import GridDataModule
    from stconv.task import ForecastTask

SIZES = ("c_in", "c_out", "t_in", "leads")
"""Arguments of a network that follow from the data."""


def data_class() -> type[GridDataModule]:
    """The class whose arguments are the section `data`."""
    from stconv.datasets.datamodule import GridDataModule

    return GridDataModule


def model_class() -> type[ForecastTask]:
    """The class whose arguments are the section `model`."""
    from stconv.task import ForecastTask

    return ForecastTask


def trainer_class() -> type[Trainer]:
    """The class whose arguments are the section `trainer`."""
    from pytorch_lightning import Trainer

    return Trainer


def config_text(path: Path) -> str:
    """Read a configuration.

    Raises:
        ConfigError: The file holds no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"'{path}' is no configuration: it holds no text in UTF-8. For data, write one first: `stconv "
            "inspect FILE --write-config my.yaml`."
        ) from error


def config_values(path: Path) -> Any:
    """Read the values of a configuration.

    Raises:
        ConfigError: The file holds no text, or is not YAML.
    """
    try:
        return yaml.safe_load(config_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"'{path}' is not YAML: {error}") from error


def modules_of_config(path: Path) -> list[str]:
    """Return the modules under the key `import` of a configuration.

    Raises:
        ConfigError: The key does not hold names.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return []  # reported when the configuration is read
    found = values.get("import") if isinstance(values, dict) else None
    modules = [found] if isinstance(found, str) else found or []
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise ConfigError(f"`import` of '{path}' is {found!r}; expected a module name, or a list of names.")
    return modules
