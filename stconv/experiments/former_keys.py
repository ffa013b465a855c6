"""Former keys of a configuration's data section, from before it had groups, and their present names.

A configuration, an option or a key of a search space may say `data.batch_size` for `data.loading.batch_size`:
configurations, saved runs and habits from before the groups still work.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import ConfigError

GROUPS = {
    "source": SourceSettings,
    "window": WindowSettings,
    "preparation": PreparationSettings,
    "loading": LoadingSettings,
}
RENAMED = {"usual": "climatology_at_leads"}
PLACE: dict[str, tuple[str, str]] = {
    field.name: (group, field.name) for group, kind in GROUPS.items() for field in dataclasses.fields(kind)
} | {former: ("preparation", name) for former, name in RENAMED.items()}
"""Present group and name by former key."""
_OPTION = re.compile(r"--data\.(\w+)(.*)", re.S)


def grouped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the keys of its data section in groups; everything else is unchanged.

    A former key without a value (null) is left out: it meant the default.

    Raises:
        ConfigError: A key is given both in its group and at its former place.
    """
    data = config.get("data")
    if not isinstance(data, Mapping) or not set(PLACE) & set(data):
        return dict(config)
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key not in PLACE:
            found[key] = {**value, **found.get(key, {})} if isinstance(value, Mapping) else value
            continue
        group, name = PLACE[key]
        here, there = found.setdefault(group, {}), data.get(group)
        if name in here or (isinstance(there, Mapping) and name in there):
            raise ConfigError(
                f"The configuration gives data.{group}.{name} twice, also as data.{key}. Remove one of them."
            )
        if value is not None:
            here[name] = value
    return {**config, "data": found}


def grouped_key(key: str) -> str:
    """Return the present form of a dotted key: data.loading.batch_size for data.batch_size."""
    section, _, rest = key.partition(".")
    first, dot, inner = rest.partition(".")
    if section != "data" or first not in PLACE:
        return key
    return ".".join(("data", *PLACE[first])) + dot + inner


def grouped_options(argv: Sequence[str]) -> list[str]:
    """Return command line words with former options in their present form."""
    words = []
    for word in argv:
        match = _OPTION.fullmatch(word)
        words.append(f"--{grouped_key(f'data.{match[1]}')}{match[2]}" if match else word)
    return words
