"""Folders of the shipped experiments and recipes, in an installed wheel or in the checkout."""

from __future__ import annotations

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


def _first(*folders: Path) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"The installation lacks a folder: looked for {' and '.join(map(str, folders))}. Install stconv "
        "again."
    )
