"""Configurations in a former form: keys of the data section, and a network whose name now means another.

A configuration, an option or a key of a search space may say `data.batch_size` for `data.loading.batch_size`:
configurations, saved runs and habits from before the data section had groups still work.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
BOTH_SIMVP = {"c_in", "c_out", "t_in", "leads", "kernel"}
"""Arguments that the published SimVP and the network that formerly had its name have in common."""
_OPTION = re.compile(r"--data\.(\w+)(.*)", re.S)


class FormerNetworkWarning(UserWarning):
    """The name of a network in a configuration formerly belonged to another network."""


def warn_of_former_networks(config: Any) -> None:
    """Warn of a SimVP whose arguments do not say whether the published network is meant or the former one.

    With arguments of the former network, FrameMixer, it is refused later, see `SimVP.former`.
    """
    for network in _objects(config):
        arguments = network.get("init_args") or {}
        name = str(network.get("class_path")).rpartition(".")[2]
        if name == "SimVP" and isinstance(arguments, Mapping) and set(arguments) <= BOTH_SIMVP:
            warnings.warn(
                "SimVP in the configuration has none of its sizes, so it is the published network with its "
                "46.8 million parameters. In older configurations SimVP was a smaller network, which is now "
                "FrameMixer: write `FrameMixer` instead if you mean that one. To keep the published network "
                "without this warning, write one of its sizes: `init_args: {hid_s: 64}`.",
                FormerNetworkWarning,
                stacklevel=2,
            )


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Iterate over all classes that a configuration names, as mappings with a `class_path`."""
    if isinstance(value, Mapping):
        if "class_path" in value:
            yield value
        for key, inner in value.items():
            yield from _objects(
                {"class_path": inner} if key == "network" and isinstance(inner, str) else inner
            )
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


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
