"""Settings as plain values, for JSON and YAML, and back: one way for every frozen dataclass of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from stconv.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def to_plain(settings: DataclassInstance) -> dict[str, Any]:
    """Return every field as JSON values: settings inside settings as mappings, tuples as lists."""
    values: dict[str, Any] = _plain(dataclasses.asdict(settings))
    return values


def stated(settings: DataclassInstance) -> dict[str, Any]:
    """Return, as JSON values, the fields that differ from their defaults: what a person has to write down."""
    values = to_plain(settings)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = stated(value)
            if inner:
                found[field.name] = inner
        elif value != _default(field):
            found[field.name] = values[field.name]
    return found


def from_plain(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make settings from the plain values of their fields; what is left out has its default.

    Args:
        kind: A dataclass that checks itself; its fields are plain values, not other settings.
        values: By name of the field.
        where: Owner of the values, for the message.

    Raises:
        ConfigError: A field is unknown, or one without a default is missing.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            f"{where} has the unknown key '{unknown[0]}'; expected some of: {', '.join(fields)}. "
            "Correct the key. If a newer stconv wrote it, update stconv, or take the key out."
        )
    missing = [
        name
        for name, field in fields.items()
        if name not in values and _default(field) is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where} lacks '{missing[0]}'. Add it, or export the model again.")
    return kind(**values)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
