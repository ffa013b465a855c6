"""A section of an experiment: settings to read and to set by attribute, named as in its YAML file."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stconv.errors import ConfigError
from stconv.experiments.configuration import SIZES
from stconv.front.contained import contained, containment
from stconv.front.value_types import check_types
from stconv.plain import to_plain

UNSET = inspect.Parameter.empty


@dataclass(frozen=True)
class Known:
    """A setting that a section may hold.

    Attributes:
        default: Its default; `UNSET` if it has to be given.
        kind: Class whose arguments are the settings inside it, if it is a section.
    """

    default: Any = UNSET
    kind: Callable[[], type] | None = None


class Section:
    """Settings by name; reading one that is not stated returns its default.

    Setting an unknown name raises a ConfigError that names the closest one, and settings of the data are
    checked at once. Assign a mapping to a section to replace it.
    """

    __slots__ = ("_attach", "_kind", "_path", "_values")

    def __init__(
        self,
        values: dict[str, Any],
        path: str,
        kind: Callable[[], type] | None,
        attach: Callable[[], None] | None = None,
    ) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_attach", attach)

    def _known(self) -> dict[str, Known]:
        with containment():  # the classes of Lightning change the state of the process when they are imported
            return known_settings(None if self._kind is None else self._kind())

    def _place(self) -> dict[str, Any]:
        """The mapping that holds the settings: of a class, its arguments."""
        if "class_path" not in self._values:
            return self._values
        return self._values.get("init_args") or {}

    def _place_to_set(self) -> dict[str, Any]:
        """The same mapping, as a part of the experiment even if nothing in it was stated before."""
        if self._attach is not None:
            self._attach()
            object.__setattr__(self, "_attach", None)
        if "class_path" not in self._values:
            return self._values
        if not self._values.get("init_args"):
            self._values["init_args"] = {}
        return self._values["init_args"]

    def _names(self) -> list[str]:
        stated = [name for name in self._place() if name.isidentifier()]
        return list(dict.fromkeys([*self._known(), *stated]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "class_path" and name in self._values:
            return self._values[name]
        place, known = self._place(), self._known()
        if name not in place and name not in known:
            raise AttributeError(self._unknown(name))
        found = known.get(name, Known())
        value = place.get(name, found.default)
        if isinstance(value, str) and name in COMPONENTS:
            value = {"class_path": value}
        inside = found.kind is not None or (isinstance(value, dict) and "class_path" in value)
        if not inside:
            return None if value is UNSET else value
        value = value if isinstance(value, dict) else {}
        here = _class_of(value) if "class_path" in value else found.kind

        def attach() -> None:
            self._place_to_set()[name] = value

        return Section(value, f"{self._path}.{name}", here, None if place.get(name) is value else attach)

    def __setattr__(self, name: str, value: Any) -> None:
        place, known = self._place_to_set(), self._known()
        if name == "class_path":
            self._values["class_path"] = value if isinstance(value, str) else class_path(value)
            return
        if known and name not in known and name not in place:
            raise ConfigError(self._unknown(name))
        had, before = name in place, place.get(name)
        place[name] = plain(value)
        try:
            self._check()
        except Exception:
            if had:
                place[name] = before
            else:
                del place[name]
            raise

    def __delattr__(self, name: str) -> None:
        """Return a setting to its default."""
        self._place().pop(name, None)

    def _check(self) -> None:
        """Let settings that check themselves do so."""
        if self._kind is None or "class_path" in self._values:
            return
        kind = self._kind()
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            return
        check_types(kind, self._values, f"{self._path}.")
        if all(
            field.name in self._values or _default_of(field) is not UNSET
            for field in dataclasses.fields(kind)
        ):
            simple = {name: value for name, value in self._values.items() if not isinstance(value, dict)}
            if len(simple) == len(self._values):
                try:
                    kind(**self._values)
                except TypeError as error:
                    raise ConfigError(f"{self._path} is not understood: {error}.") from error

    def _unknown(self, name: str) -> str:
        names = self._names()
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"{self._path} has no setting '{name}'.{hint} It has: {', '.join(names)}."

    def __dir__(self) -> list[str]:
        return self._names() + (["class_path"] if "class_path" in self._values else [])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        text = yaml.safe_dump(self._values, sort_keys=False) if self._values else "  (defaults)\n"
        return f"{self._path}:\n{text}".rstrip()


COMPONENTS = ("network", "loss", "optimizer", "lr_scheduler", "logger")
"""Settings that are a class and its arguments; a configuration may name the class alone."""


def known_settings(kind: type | None) -> dict[str, Known]:
    """Settings of a class: fields of a dataclass, or arguments of its constructor."""
    if kind is None:
        return {}
    if dataclasses.is_dataclass(kind):
        return {
            field.name: Known(_default_of(field), _dataclass_in(kind, field.name))
            for field in dataclasses.fields(kind)
        }
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name in SIZES:
            continue
        default = parameter.default
        found[name] = Known(default, _dataclass_in(kind, name))
    return found


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return UNSET if field.default is dataclasses.MISSING else field.default


def _dataclass_in(kind: type, name: str) -> Callable[[], type] | None:
    """The dataclass that a setting holds, by its annotation or its default."""
    import typing

    target: Any = kind if dataclasses.is_dataclass(kind) else vars(kind).get("__init__", kind)
    try:
        annotation = typing.get_type_hints(target).get(name)
    except (NameError, TypeError):
        return None
    return (lambda: annotation) if dataclasses.is_dataclass(annotation) else None  # type: ignore[return-value]


def _class_of(value: Mapping[str, Any]) -> Callable[[], type] | None:
    """The class that a class path names, imported when it is asked for."""

    def find() -> type:
        return find_class(str(value["class_path"]))

    return find


@contained
def find_class(path: str) -> type:
    """Import the class of a class path, such as stconv.models.UNet, or the network of a registered name.

    Raises:
        ConfigError: There is none.
    """
    import importlib

    module, _, name = path.rpartition(".")
    try:
        if not module:
            from stconv.models import REGISTRY

            return REGISTRY[name]
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"There is no class '{path}'. Write its module and name, such as stconv.models.UNet."
        ) from error
    return found


def class_path(kind: Any) -> str:
    """Class path of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def plain(value: Any) -> Any:
    """Return a value as YAML holds it: settings as mappings, classes as class paths, tuples as lists."""
    if isinstance(value, Section):
        return plain(value._values)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, type):
        return {"class_path": class_path(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value  # numbers and arrays of NumPy
