"""Folders of the shipped experiments and recipes, in an installed wheel or in the checkout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from stconv.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """Folder of the shipped experiments, one YAML each."""
    return _first(_PACKAGE / "configs", _PACKAGE.parent / "configs")


def recipes_dir() -> Path:
    """Folder of the shipped recipes, one YAML per data set."""
    return _first(_PACKAGE / "recipes", _PACKAGE.parent / "data" / "recipes")


def list_configs() -> list[str]:
    """Names of the shipped experiments, sorted."""
    return sorted(path.stem for path in configs_dir().glob("*.yaml"))


def config_path(name: str) -> Path:
    """File of a shipped experiment.

    Raises:
        ConfigError: There is no experiment of this name; the message lists the available ones.
    """
    path = configs_dir() / f"{name.removesuffix('.yaml')}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"No shipped experiment '{name}'; available: {', '.join(list_configs()) or 'none'}."
        )
    return path


def copy_configs(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Copy shipped experiments to a folder, to change them; nothing is overwritten.

    Args:
        folder: Target, created if absent.
        names: Experiments to copy; default: all.

    Returns:
        The copies.

    Raises:
        ConfigError: There is no experiment of a name, or the folder holds a file of its name.
    """
    sources = [config_path(name) for name in names or list_configs()]
    taken = [source.name for source in sources if (folder / source.name).exists()]
    if taken:
        raise ConfigError(
            f"'{folder}' holds {', '.join(taken)} already, and nothing is overwritten. Choose "
            "another folder, or remove them."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(source, folder / source.name)) for source in sources]


def _first(*folders: Path) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"The installation lacks a folder: looked for {' and '.join(map(str, folders))}. Install stconv "
        "again."
    )
