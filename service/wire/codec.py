"""Fields as bytes, for transfer between processes: a JSON header and the raw arrays, never a pickle.

Answers of parser processes are not trusted either: `decode` checks every size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 32 * 2**20
"""More than the bounds of an upload allow; what sends more is no parser of ours any more."""


@dataclass(frozen=True)
class RawVariable:
    """A variable as it is stored in a file: packed values, times as numbers.

    Attributes:
        dims: Names of the dimensions.
        values: Numbers, or text of fixed length; any number of dimensions.
        attrs: CF attributes: text, numbers, or lists of numbers.
    """

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any]


def encode(variables: Mapping[str, RawVariable], attrs: Mapping[str, Any]) -> bytes:
    """Encode variables and global attributes as one byte string."""
    arrays = {name: np.ascontiguousarray(variable.values) for name, variable in variables.items()}
    header = {
        "attrs": {key: _attribute(value) for key, value in attrs.items()},
        "variables": [
            {
                "name": name,
                "dims": list(variable.dims),
                "shape": list(variable.values.shape),
                "dtype": arrays[name].dtype.str,
                "attrs": {key: _attribute(value) for key, value in variable.attrs.items()},
            }
            for name, variable in variables.items()
        ],
    }
    text = json.dumps(header).encode()
    return b"".join(
        [len(text).to_bytes(LENGTH_BYTES, "little"), text, *(a.tobytes() for a in arrays.values())]
    )


def sizes(data: bytes) -> dict[str, int]:
    """Read the size of each dimension from the header only."""
    found: dict[str, int] = {}
    for variable in _header(data)[0]["variables"]:
        found.update(zip(variable["dims"], variable["shape"], strict=True))
    return found


def check_header(data: bytes) -> None:
    """Check the length of the header, before anything decodes it.

    Raises:
        ValueError: It is too long.
    """
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes; at most {MAX_HEADER_BYTES} are allowed")


def decode(data: bytes) -> tuple[dict[str, RawVariable], dict[str, Any]]:
    """Decode the result of `encode`; the arrays are read-only views of `data`.

    Raises:
        ValueError: The header and the bytes after it do not match.
    """
    header, offset = _header(data)
    variables: dict[str, RawVariable] = {}
    for entry in header["variables"]:
        dtype = np.dtype(entry["dtype"])
        shape = tuple(int(size) for size in entry["shape"])
        if dtype.kind not in "fiuSU" or min(shape, default=0) < 0:
            raise ValueError(f"variable {entry['name']!r}: {dtype} of shape {shape} cannot be sent")
        values = np.frombuffer(data, dtype, count=int(np.prod(shape, dtype=object)), offset=offset).reshape(
            shape
        )
        offset += values.nbytes
        attrs = {key: _restored(value) for key, value in entry["attrs"].items()}
        variables[str(entry["name"])] = RawVariable(tuple(entry["dims"]), values, attrs)
    return variables, {key: _restored(value) for key, value in header["attrs"].items()}


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    return json.loads(data[LENGTH_BYTES:end]), end


def _attribute(value: Any) -> Any:
    """Encode an attribute with its type, because a fill value must equal the values that it marks."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "SUO":
        texts = [
            item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
            for item in array.ravel()
        ]
        return texts[0] if array.ndim == 0 else {"texts": texts}
    if array.dtype.kind not in "fiub":
        return str(value)
    return {"dtype": array.dtype.str, "values": array.tolist()}


def _restored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "texts" in value:
        return list(value["texts"])
    array = np.asarray(value["values"], np.dtype(value["dtype"]))
    return array[()] if array.ndim == 0 else array


def names(values: Sequence[str], limit: int = 10) -> str:
    """List a few names in a message, quoted by `repr`, so that a client's text cannot forge a log line."""
    shown = ", ".join(repr(value[:60]) for value in list(values)[:limit])
    return shown + (f" and {len(values) - limit} more" if len(values) > limit else "")
