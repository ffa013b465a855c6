"""Reading of Zarr stores, on disk or the network: fill values that mean missing or not, outdated metadata."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.remote.address import Address, Place
from stconv.datasets.source.absent import Chunks, listed_chunks, mark_absent, zarr_chunks
from stconv.datasets.source.attributes import SourceWarning
from stconv.errors import FileError

MOST_LISTED = 20_000
"""Most chunks of an array on the network whose presence is checked when the store is opened."""
NO_STATEMENT = (0, 1)
"""Fill values that libraries write by default (`zeros`, `ones`), which do not mean missing."""


def open_zarr(place: Place, kind: str, group: str | None) -> xr.Dataset:
    """Open a store undecoded; `_FillValue` is set where the fill value means missing.

    The metadata of each array is read, not the consolidated copy (`.zmetadata`), which appending does not
    always update; except from a web server, which cannot list the arrays.

    Args:
        place: Folder or address of the store.
        kind: Its kind, from `store_kind`: "zarr", "references" or "icechunk".
        group: Group inside it.

    Returns:
        Variables with stored values; `_FillValue` where an attribute states it, or where it is the fill value
        of a version 2 array written by xarray, which stores it nowhere else.

    Raises:
        FileError: The store cannot be read, or does not say which arrays it has.
    """
    import zarr

    from stconv.datasets.remote.store import open_store

    absent = AbsentWhenRead(str(place))
    opened = open_store(place, kind, absent)
    copied = _copied(_reader(opened), group)
    consolidated = copied is not None and _is_web(place)
    xr_store = xr.backends.ZarrStore.open_group(
        opened, group=group, mode="r", consolidated=consolidated, use_zarr_fill_value_as_mask=True
    )  # otherwise xarray reads only its own form of the attribute `_FillValue` of version 3
    ds = xr.open_dataset(xr_store, decode_cf=False)
    store = zarr.open_group(opened, mode="r", path=group or "", use_consolidated=consolidated)
    if _is_web(place) and not ds.variables:
        raise FileError(
            f"'{place}' has no consolidated metadata, and its server does not list its arrays. Write them "
            "where the store is kept: `zarr.consolidate_metadata(STORE)`."
        )
    for name, variable in ds.variables.items():
        array = store[str(name)]
        variable.attrs.pop("_FillValue", None)
        fill = _stated(array, str(name), str(place))
        if fill is not None:
            variable.attrs["_FillValue"] = fill
    for name, variable in ds.variables.items():
        stored = _chunks_of(store[str(name)], str(name), place, opened, group)
        if stored is not None:
            absent.known.add(str(name))
            mark_absent(str(name), variable.dims, variable.dtype, variable.attrs, stored, str(place))
    if not consolidated and copied is not None:
        _warn_of_copy(place, copied, store)
    return ds


def _is_web(place: Place) -> bool:
    return isinstance(place, Address) and place.scheme in ("http", "https")


def _chunks_of(array: Any, name: str, place: Place, opened: Any, group: str | None) -> Chunks | None:
    """The chunks of an array that are stored; None where asking would take too long."""
    inside = "/".join(part for part in ((group or "").strip("/"), name) if part)
    if isinstance(opened, Path):
        return zarr_chunks(array, opened / inside)
    if _is_web(place) or array.nchunks > MOST_LISTED:
        return None
    return listed_chunks(array, opened, inside)


class AbsentWhenRead:
    """Warns once for each variable of a chunk that is absent when it is read.

    Args:
        source: The store, for messages.

    Attributes:
        known: Variables whose absent chunks were told when the store was opened.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: set[str] = set()

    def __call__(self, key: str) -> None:
        """Tell of a chunk."""
        name = re.sub(r"(/c)?[/.]?\d+([./]\d+)*$", "", key).rpartition("/")[2]
        if not name or name in self.known:
            return
        self.known.add(name)
        warnings.warn(
            f"{self.source}: the chunk {key} of '{name}' is not stored, perhaps others neither. They are "
            "read as the fill value. If that is wrong, write them, or upload them again.",
            SourceWarning,
            stacklevel=2,
        )


def _reader(opened: Any) -> Callable[[str], bytes | None]:
    """A function that reads a metadata file of a store."""
    if isinstance(opened, Path):
        return lambda name: (opened / name).read_bytes() if (opened / name).is_file() else None

    def read(name: str) -> bytes | None:
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        found = sync(opened.get(name, default_buffer_prototype()))
        return None if found is None else bytes(found.to_bytes())

    return read


def _stated(array: Any, name: str, source: str) -> Any:
    """The fill value that means missing, or None."""
    attrs, fill = array.attrs, array.fill_value
    if attrs.get("_FillValue") is not None:
        return _from_json(attrs["_FillValue"], array.dtype)
    if array.metadata.zarr_format != 2 or fill is None or array.dtype.kind not in "iuf":
        return None
    if fill not in NO_STATEMENT:
        return fill
    if "missing_value" not in attrs and {"scale_factor", "add_offset"} & set(attrs):
        warnings.warn(
            f"{source}: the fill value {fill} of the packed '{name}' is read as a value, since no "
            "attribute declares it missing. If it means missing, set the attribute `_FillValue` to "
            f"{fill}.",
            SourceWarning,
            stacklevel=2,
        )
    return None


def _from_json(value: Any, dtype: np.dtype[Any]) -> Any:
    """Decode a fill value: a number, its text, or the bytes of a double (xarray, version 3)."""
    if not isinstance(value, str) or dtype.kind not in "iuf":
        return value
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return struct.unpack("<d", base64.b64decode(value, validate=True))[0]
    except (binascii.Error, struct.error, ValueError):
        return value


def _warn_of_copy(path: Place, copied: dict[str, dict[str, Any]], store: Any) -> None:
    """Warn if consolidated metadata differs from the arrays, since other readers then see something else."""
    arrays = {name: array for name, array in store.members() if hasattr(array, "chunks")}
    lost = sorted(copied.keys() - arrays.keys())
    if lost:
        warnings.warn(
            f"{path}: the consolidated metadata lists {', '.join(lost[:8])}, and the store lacks "
            f"{'this array' if len(lost) == 1 else 'these arrays'} or the metadata of it. Download or write "
            "the store again, or update the metadata with `zarr.consolidate_metadata(STORE)`.",
            SourceWarning,
            stacklevel=2,
        )
    told = [f"it lacks '{name}'" for name in sorted(arrays.keys() - copied.keys())]
    told += [
        f"it gives '{name}' the {what} {before}, the array has {after}"
        for name in sorted(arrays.keys() & copied.keys())
        for what, before, after in _differences(copied[name], arrays[name])
    ]
    if told:
        warnings.warn(
            f"{path}: the consolidated metadata is older than the arrays: {told[0]}. The array is read. "
            "Update the metadata with `zarr.consolidate_metadata(STORE)`, so that other readers see it.",
            SourceWarning,
            stacklevel=2,
        )


def _differences(entry: dict[str, Any], array: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between a copy of the metadata and an array: the name, the copy, the array."""
    if "shape" in entry and tuple(entry["shape"]) != array.shape:
        yield "shape", tuple(entry["shape"]), array.shape
    attrs = entry.get("attributes")
    if not isinstance(attrs, dict):
        return
    there = {key: value for key, value in array.attrs.items() if key != "_ARRAY_DIMENSIONS"}
    for key in sorted({*attrs, *there} - {"_ARRAY_DIMENSIONS"}):
        before, after = (json.dumps(values.get(key), sort_keys=True) for values in (attrs, there))
        if before != after:
            yield f"attribute {key}", before, after


def _copied(read: Callable[[str], bytes | None], group: str | None) -> dict[str, dict[str, Any]] | None:
    """Shape and attributes by array name in the consolidated metadata; None if there is none."""
    prefix = f"{group.strip('/')}/" if group and group.strip("/") else ""
    try:
        if (content := read(".zmetadata")) is not None:
            stored = json.loads(content)["metadata"]
            entries = {
                key.removesuffix("/.zarray"): {"attributes": stored.get(f"{key[:-7]}.zattrs", {}), **entry}
                for key, entry in stored.items()
                if key.endswith("/.zarray")
            }
        else:
            entries = json.loads(read("zarr.json") or b"")["consolidated_metadata"]["metadata"]
        named = {key.removeprefix(prefix): e for key, e in entries.items() if key.startswith(prefix)}
        return {key: e for key, e in named.items() if "/" not in key and "shape" in e}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
