"""Networks that are defined outside of stconv, found by entry points or imported on a user's request.

A module is not imported because a bundle or a run names it: that would execute untrusted code. Installed
packages and modules that the user names are trusted.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from stconv.errors import ConfigError

GROUP = "stconv.networks"
"""Group of entry points; each is named after a network and loads its class or its module."""


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register a user's own networks.

    Args:
        names: Module names, found on the Python path or in the working folder, or files such as
            `networks/mine.py`.

    Raises:
        ConfigError: A module does not exist or cannot be imported.
    """
    for name in names:
        if not name or name.startswith("-"):
            raise ConfigError(
                f"--import is '{name}'; expected a module or a .py file that registers networks."
            )
        file = Path(name)
        folder, module = (file.parent, file.stem) if file.suffix == ".py" else (Path(), name)
        where = str(folder.resolve())
        if where not in sys.path:
            sys.path.append(where)  # last, so that no file in it shadows a library
        importlib.invalidate_caches()
        try:
            importlib.import_module(module)
        except Exception as error:
            absent = error.name if isinstance(error, ModuleNotFoundError) else None
            if absent and (module == absent or module.startswith(f"{absent}.")):
                raise ConfigError(
                    f"There is no module '{name}' to import: it is neither on Python's path nor in "
                    f"'{where}'. Name it as Python does, such as package.module, or as a file: "
                    "--import folder/module.py."
                ) from error
            raise ConfigError(
                f"The module '{name}' cannot be imported: {type(error).__name__}: {error}. Fix it, or leave "
                "--import out."
            ) from error


def load_entry_points(name: str | None = None) -> None:
    """Import the networks offered by installed packages.

    Args:
        name: Name of the network to import; by default all are imported, with a warning for each that fails.

    Raises:
        ConfigError: The named network cannot be imported.
    """
    for point in entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name):
        try:
            point.load()
        except Exception as error:
            package = point.dist.name if point.dist else point.value
            text = (
                f"The package {package} offers the network '{point.name}', which cannot be imported "
                f"({point.value}): {type(error).__name__}: {error}. Fix the package, or uninstall it."
            )
            if name is not None:
                raise ConfigError(text) from error
            warnings.warn(text, stacklevel=2)


def remedy(name: str, module: str | None) -> str:
    """Return advice for a user whose network is unknown here.

    Args:
        name: Name of the network.
        module: Module that defined it where it was trained, if known.
    """
    if module == "__main__":
        return (
            f"'{name}' was defined in a notebook or a script. Put its class into a module, and import that: "
            "--import MODULE on the command line."
        )
    if module is not None:
        return (
            f"'{name}' was defined in the module '{module}', which is not imported without your consent. "
            f"If you trust it: --import {module} on the command line, `import {module}` in Python, or "
            f"install the package that offers it as an entry point of the group {GROUP}."
        )
    return "Register a network of your own by --import MODULE on the command line."
