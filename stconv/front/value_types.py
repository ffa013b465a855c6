"""Values that a person sets, compared with the types of the fields that hold them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from stconv.errors import ConfigError

ONE = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
MANY = {int: "whole numbers", float: "numbers", str: "texts", bool: "True or False"}


def check_types(kind: type, values: Mapping[str, Any], within: str = "") -> None:
    """Refuse values that are not of the types of their fields; a null stands for a default.

    Args:
        kind: A dataclass of settings.
        values: Plain values by name of the field.
        within: Path of the settings, ending with a dot, for the message.

    Raises:
        ConfigError: A value is of another type; the message names the field and the type expected.
    """
    for name, expected in typing.get_type_hints(kind).items():
        if name in values and not _fits(values[name], expected):
            raise ConfigError(f"{within}{name} is {values[name]!r}; expected {_words(expected, ONE)}.")


def _fits(value: Any, expected: Any) -> bool:
    """Whether a value is of a type; types that settings do not use take every value."""
    origin, inner = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if expected is type(None):
        return value is None
    if expected is bool:
        return isinstance(value, bool)
    if expected in (int, float):
        return isinstance(value, (int, expected)) and not isinstance(value, bool)
    if expected is str:
        return isinstance(value, str)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(_fits(each, inner[1]) for each in value.values())
    if dataclasses.is_dataclass(expected):
        return isinstance(value, Mapping) or dataclasses.is_dataclass(value)
    return True


def _words(expected: Any, count: dict[Any, str]) -> str:
    """A type in words, for one value (`ONE`) or for several (`MANY`)."""
    origin, inner = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(each, count) for each in inner)
    if expected is type(None):
        return "None"
    if origin is list:
        return f"{'a list' if count is ONE else 'lists'} of {_words(inner[0], MANY)}"
    if origin is dict:
        return f"{'a mapping' if count is ONE else 'mappings'} from names to {_words(inner[1], MANY)}"
    if expected is Any:
        return "any values"
    if dataclasses.is_dataclass(expected):
        return "settings by name"
    return count.get(expected, str(expected))
