"""Attributes of any type: numbers that are text, JSON objects, null and booleans of Zarr, lists in lists."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from stconv.errors import VariableError

_SEPARATOR = re.compile(r"[\s,;]+")
_TEXT = ("units", "calendar", "coordinates", "bounds", "grid_mapping", "standard_name", "long_name", "axis")
"""Attributes that the readers of a file take for text."""


_HDF5 = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates")


class SourceWarning(UserWarning):
    """Something about a source that is read all the same, and that its user should know."""


def numbers(attrs: Mapping[Any, Any], key: str, name: str, source: str, strict: bool = False) -> list[Any]:
    """The numbers of an attribute, whatever type it has.

    Args:
        attrs: Attributes of a variable.
        key: Of the attribute; without it, or for null, there are none.
        name: Of the variable, for messages.
        source: File or dataset, for messages.
        strict: Refuse what is no number, instead of a warning.

    Returns:
        NumPy or Python numbers in the type of the attribute.

    Raises:
        VariableError: It is no number, and `strict`.
    """
    value = attrs.get(key)
    if value is None:
        return []
    found = [_number(part) for part in _parts(value)]
    if all(part is not None for part in found):
        return found
    expected = f"{source}: {key} of variable '{name}' is {value!r}; a number is expected."
    if strict:
        raise VariableError(
            f"{expected} Correct the attribute, for example with `ncatted -a {key},{name},o,d,NUMBER FILE`."
        )
    warnings.warn(
        f"{expected} It does not count. State what is valid with `valid_range: {{{name}: [LOW, HIGH]}}` of "
        "the grid specification.",
        SourceWarning,
        stacklevel=2,
    )
    return [part for part in found if part is not None]


def _parts(value: Any) -> list[Any]:
    """The entries of an attribute, in one list."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return [part for part in _SEPARATOR.split(value.strip("[]() ")) if part]
    if isinstance(value, (list, tuple)):
        return [part for entry in value for part in _parts(entry)]
    if isinstance(value, np.ndarray):
        return [part for entry in value.ravel() for part in _parts(entry)]
    return [value]


def _number(value: Any) -> Any:
    if isinstance(value, str):
        for text, kind in ((value, int), (value, float), (value.rstrip("fFdDbBsSlL"), float)):
            try:
                return kind(text)
            except ValueError:
                continue
        return None
    if isinstance(value, (bool, np.bool_)) or value is None:
        return None
    return value if isinstance(value, (int, float, np.integer, np.floating)) else None


def plain_text(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes with text where readers take text for granted: lists are joined, null is left out."""
    result = {}
    for key, value in attrs.items():
        key = str(key)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if key in _TEXT and not isinstance(value, str):
            if value is None:
                continue
            listed = isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1
            value = " ".join(map(str, value)) if listed else str(value)
        result[key] = value
    return result


def portable(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as NetCDF holds them: numbers, text, lists of one of them; anything else as JSON text.

    Null is left out, and so are the names that HDF5 keeps for itself.
    """
    return {
        str(key).replace("/", "_"): _portable(value)
        for key, value in attrs.items()
        if value is not None and str(key) not in _HDF5
    }


def _portable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (bool, np.bool_)):
        return json.dumps(bool(value))
    if isinstance(value, (str, int, float, np.integer, np.floating)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.ndim <= 1:
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "USO" and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        kinds = {type(entry) for entry in value}
        if kinds and (kinds <= {str} or kinds <= {int, float}):
            return list(value)
    return json.dumps(jsonable(value))


def jsonable(value: Any) -> Any:
    """The same in types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
