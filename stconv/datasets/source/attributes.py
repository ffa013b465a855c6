"""Attributes of any type: numbers as text; JSON objects, nulls and booleans of Zarr; nested lists."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from stconv.errors import VariableError

_SEPARATOR = re.compile(r"[\s,;]+")
_TEXT = ("units", "calendar", "coordinates", "bounds", "grid_mapping", "standard_name", "long_name", "axis")
"""Attributes that readers expect to be text."""


_RESERVED = (
    *("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"),
    *("_NCProperties", "_nc3_strict", "_IsNetcdf4", "_SuperblockVersion", "_Format"),
)
"""Names in which HDF5 and NetCDF keep the structure of a file."""


class SourceWarning(UserWarning):
    """A defect or peculiarity of a source that can nevertheless be read."""


def plain_value(value: Any) -> Any:
    """A value of an attribute without the types of NumPy, for messages and comparisons."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def ncatted(key: str, name: str, change: str) -> str:
    """A command that corrects an attribute, to be pasted into a shell.

    Args:
        key: Name of the attribute.
        name: Name of its variable.
        change: Mode, type and value, in the form of `ncatted -a`.
    """
    return f"ncatted -a {shlex.quote(f'{key},{name},{change}')} FILE"


def numbers(attrs: Mapping[Any, Any], key: str, name: str, source: str, strict: bool = False) -> list[Any]:
    """Read the numbers of an attribute of any type.

    Args:
        attrs: Attributes of a variable.
        key: Name of the attribute; an absent or null one has no numbers.
        name: Name of the variable, for messages.
        source: File or dataset, for messages.
        strict: Whether to refuse other values instead of warning.

    Returns:
        NumPy or Python numbers, of the type of the attribute.

    Raises:
        VariableError: `strict` is set, and the attribute is not a number.
    """
    value = attrs.get(key)
    if value is None:
        return []
    found = [_number(part) for part in _parts(value)]
    if all(part is not None for part in found):
        return found
    expected = f"{source}: {key} of variable '{name}' is {plain_value(value)!r}; expected a number."
    if strict:
        raise VariableError(
            f"{expected} Correct the attribute, for example with `{ncatted(key, name, 'o,d,NUMBER')}`."
        )
    warnings.warn(
        f"{expected} It is ignored. State the valid range with `valid_range: {{{name}: [LOW, HIGH]}}` of "
        "the grid specification.",
        SourceWarning,
        stacklevel=2,
    )
    return [part for part in found if part is not None]


def _parts(value: Any) -> list[Any]:
    """The entries of an attribute as a flat list."""
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
    """Convert attributes to text where readers expect it: lists are joined, nulls dropped."""
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


def portable(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Convert attributes to types of NetCDF: numbers, text, lists of either; anything else becomes JSON text.

    Nulls and names that HDF5 and NetCDF reserve are dropped.
    """
    return {name: _portable(attrs[name]) for name in kept_names(attrs)}


def kept_names(attrs: Mapping[str, Any]) -> list[str]:
    """Names of the attributes that are written: not null, not reserved."""
    return [name for name, value in attrs.items() if value is not None and name not in _RESERVED]


def _portable(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        return _utf8(value)
    if isinstance(value, (bool, np.bool_)):
        return json.dumps(bool(value))
    if isinstance(value, (int, float)) and np.asarray(value).dtype != object:  # else an integer of many bytes
        return value
    if isinstance(value, (np.number, np.ndarray)) and (held := _held(np.asarray(value))) is not None:
        return held[()]
    if isinstance(value, np.ndarray) and value.dtype.kind in "USO" and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        kinds = {type(entry) for entry in value}
        if kinds and kinds <= {int, float} and np.asarray(value).dtype != object:
            return list(value)
        if kinds == {str}:
            return [_utf8(entry) for entry in value]
    return json.dumps(jsonable(value))


def _held(array: np.ndarray) -> np.ndarray | None:
    """Numbers in a type that NetCDF has, up to one dimension; None if they are others."""
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        return None
    return array.astype(np.float64) if array.dtype.kind == "f" and array.itemsize not in (4, 8) else array


def _utf8(text: str | bytes) -> str:
    """Text that can be written; what is no UTF-8 becomes a replacement character."""
    encoded = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return encoded.decode("utf-8", "replace")


def jsonable(value: Any) -> Any:
    """Convert a value to types of JSON."""
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
