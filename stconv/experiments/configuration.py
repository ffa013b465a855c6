"""The modules that a configuration names, which register a user's networks."""

from __future__ import annotations

from pathlib import Path

import yaml

from stconv.errors import ConfigError


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
