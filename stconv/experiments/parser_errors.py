"""Errors of the parser of configurations, said with the key, the value, the file and a likely spelling."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from stconv.experiments.configuration import SIZES

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "Iterable": "a list",
    "dict": "a mapping",
    "NoneType": "null",
}
"""Types of Python, and what a person writes in YAML."""
_UNKNOWN = re.compile(r"(?:does not accept option|[Kk]ey) '([\w.]+)'|[Uu]nrecognized arguments: --([\w.]+)")
_WORD = re.compile(r"unrecognized arguments: (\S+)")
_PLACE = re.compile(r'Parser key "([\w.]+)"')
_CLASS = re.compile(r"class_path[ =]'([\w.]+)'")
_NO_ARGUMENT = re.compile(r"Option '([\w.]+)' is not accepted")
_NO_NAME = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_NO_PATH = re.compile(r"Expected a dot import path string: (\S+)")
_KIND = re.compile(r"Expected an? <class '(?:[\w.]+\.)?(\w+)'>|Expected <class '(\w+)'>")
_CHOICE = re.compile(r"Expected a typing\.Literal(\[[^\]]*\])")
_VALUE = re.compile(r"(?:Got value|Given value): (.*?)(?:\. Got value: |$)", re.DOTALL)
_ABSENT = re.compile(r"the following arguments are required: (.+)")
_NOT_YAML = re.compile(
    r"Problems parsing config: (.*?)(?:\n?\s*in \"[^\"]*\")?(, line \d+, column \d+)?\s*$", re.DOTALL
)


def explained(command: str, configs: Sequence[str], message: str) -> str:
    """Say an error of the parser again.

    Args:
        command: Command of Lightning, such as fit.
        configs: Files of the configuration.
        message: Message of jsonargparse.
    """
    where = f" in {', '.join(configs)}" if configs else ""
    unknown = _UNKNOWN.search(message)
    if unknown:
        key = unknown[1] or unknown[2]
        hint = _closest_key(key) + _renamed(configs)
        return f"Unknown key '{key}'{where}.{hint} `stconv {command} --help-all` lists all keys."
    word = _WORD.search(message)
    if word:
        return f"'{word[1]}' is no option. A configuration is given as `stconv {command} --config FILE`."
    return f"The configuration{where} is not understood: {plainly(message.strip())}{_renamed(configs)}"


def plainly(message: str) -> str:
    """Say a message of jsonargparse in plain words; one of another form stays as it is."""
    place = ".".join(_PLACE.findall(message))
    here = f" at {place}" if place else ""
    if found := _NO_ARGUMENT.search(message):
        return _no_argument(found[1], _CLASS.findall(message), place)
    if found := _NO_NAME.search(message):
        part = f"{found[1]}.{found[2]}"
        return _no_class(
            next((path for path in _CLASS.findall(message) if path.startswith(part)), part), here
        )
    if found := _NO_PATH.search(message):
        return _no_class(found[1], here)
    value = _VALUE.search(message)
    kinds = [KINDS.get(one or other, one or other) for one, other in _KIND.findall(message)]
    if found := _CHOICE.search(message):
        kinds.append(f"one of {', '.join(ast.literal_eval(found[1]))}")
    if place and value and kinds:
        return f"{place} is {value[1].strip()!r}; expected {' or '.join(dict.fromkeys(kinds))}."
    if found := _ABSENT.search(message):
        keys = ", ".join(key.partition(".")[2] for key in found[1].split(", "))
        return f"it lacks {keys}. Compare it with those of `stconv configs list`."
    if found := _NOT_YAML.search(message):
        return f"it is not YAML: {' '.join(found[1].split())}{found[2] or ''}."
    if "Unexpected config" in message:
        return "it holds no settings. Compare it with those of `stconv configs list`."
    return message


def _no_argument(name: str, paths: Sequence[str], place: str) -> str:
    """A class that does not take an argument; the last of nested classes is meant."""
    if not paths:
        return f"{place} takes no '{name}'."
    module, _, kind = paths[-1].rpartition(".")
    known = [
        parameter.name
        for parameter in inspect.signature(getattr(importlib.import_module(module), kind)).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in (*SIZES, "params")
    ]
    return f"{paths[-1]} takes no '{name}'.{_hint(name, known)} It takes {', '.join(known)}."


def _no_class(path: str, here: str) -> str:
    """A class path that names nothing, with the closest of the classes that a configuration may name."""
    from stconv import losses, models, optimizers, schedules

    place, _, name = path.rpartition(".")
    modules = [models, losses, optimizers, schedules, *([sys.modules[place]] if place in sys.modules else [])]
    known = {
        name: f"{module.__name__}.{name}"
        for module in modules
        for name, found in vars(module).items()
        if isinstance(found, type) and found.__module__.startswith(module.__name__)
    }
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    hint = f" Did you mean '{known[close[0]]}'?" if close else ""
    return f"there is no class '{path}'{here}.{hint} Write its module and name, such as stconv.models.UNet."


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def _renamed(configs: Sequence[str]) -> str:
    """Add the explanation of a network whose name formerly belonged to another network."""
    from stconv.models import REGISTRY

    texts = [Path(config).read_text(errors="replace") for config in configs if Path(config).is_file()]
    former = {name: str(getattr(cls, "former", "")) for name, cls in REGISTRY.items()}
    named = [
        said for name, said in former.items() if said and any(f"models.{name}\n" in text for text in texts)
    ]
    return "".join(f" {said}" for said in named)


def _closest_key(key: str) -> str:
    known = known_keys()
    first, dot, rest = key.partition(".")
    groups = list(dict.fromkeys(name.partition(".")[0] for name in known))
    if dot and first not in groups and (close := difflib.get_close_matches(first, groups, n=1)):
        return f" Did you mean '{close[0]}.{rest}'?"
    if hint := _hint(key, known):
        return hint
    last = {name.rpartition(".")[2]: name for name in known}
    close = difflib.get_close_matches(key.rpartition(".")[2], last, n=1)
    return f" Did you mean '{last[close[0]]}'?" if close else ""


def known_keys() -> list[str]:
    """Keys of a configuration, without those of classes."""
    import dataclasses

    from pytorch_lightning import Trainer

    from stconv.datasets.datamodule import GridDataModule
    from stconv.datasets.series.splits import SplitSpec
    from stconv.experiments.former_keys import GROUPS
    from stconv.task import ForecastTask

    return [
        f"{group}.{name}"
        for group, cls in (("trainer", Trainer), ("model", ForecastTask), ("data", GridDataModule))
        for name in inspect.signature(cls).parameters
    ] + [
        f"data.{group}.{field.name}"
        for group, kind in {**GROUPS, "split": SplitSpec}.items()
        for field in dataclasses.fields(kind)
    ]
