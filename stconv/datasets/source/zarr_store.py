"""Reading of Zarr stores: fill values that mean missing or not, and outdated metadata."""

from __future__ import annotations

import base64
import binascii
import json
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.absent import mark_absent, zarr_chunks
from stconv.datasets.source.attributes import SourceWarning

NO_STATEMENT = (0, 1)
"""Fill values that libraries write by default (`zeros`, `ones`), which do not mean missing."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, version 2 or 3."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", ".zmetadata", "zarr.json"))


def open_zarr(path: Path, group: str | None) -> xr.Dataset:
    """Open a store undecoded; `_FillValue` is set where the fill value means missing.

    The metadata of each array is read, not the consolidated copy (`.zmetadata`), which appending does not
    always update.

    Args:
        path: Folder of the store.
        group: Group inside it.

    Returns:
        Variables with stored values; `_FillValue` where an attribute states it, or where it is the fill value
        of a version 2 array written by xarray, which stores it nowhere else.
    """
    import zarr

    opened = xr.backends.ZarrStore.open_group(
        path, group=group, mode="r", consolidated=False, use_zarr_fill_value_as_mask=True
    )  # otherwise xarray reads only its own form of the attribute `_FillValue` of version 3
    ds = xr.open_dataset(opened, decode_cf=False)
    store = zarr.open_group(path, mode="r", path=group or "", use_consolidated=False)
    for name, variable in ds.variables.items():
        array = store[str(name)]
        variable.attrs.pop("_FillValue", None)
        fill = _stated(array, str(name), str(path))
        if fill is not None:
            variable.attrs["_FillValue"] = fill
    inside = path / (group or "").strip("/")
    for name, variable in ds.variables.items():
        stored = zarr_chunks(store[str(name)], inside / str(name))
        if stored is not None:
            mark_absent(str(name), variable.dims, variable.dtype, variable.attrs, stored, str(path))
    _warn_of_copy(path, store, group)
    return ds


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


def _warn_of_copy(path: Path, store: Any, group: str | None) -> None:
    """Warn if consolidated metadata differs from the arrays, since other readers then see something else."""
    copied = _copied(path, group)
    if copied is None:
        return
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


def _copied(path: Path, group: str | None) -> dict[str, dict[str, Any]] | None:
    """Shape and attributes by array name in the consolidated metadata; None if there is none."""
    prefix = f"{group.strip('/')}/" if group and group.strip("/") else ""
    try:
        if (path / ".zmetadata").is_file():
            stored = json.loads((path / ".zmetadata").read_text())["metadata"]
            entries = {
                key.removesuffix("/.zarray"): {"attributes": stored.get(f"{key[:-7]}.zattrs", {}), **entry}
                for key, entry in stored.items()
                if key.endswith("/.zarray")
            }
        else:
            entries = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
        named = {key.removeprefix(prefix): e for key, e in entries.items() if key.startswith(prefix)}
        return {key: e for key, e in named.items() if "/" not in key and "shape" in e}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
