"""Reading of Zarr stores: fill values that mean missing or not, and outdated metadata."""

from __future__ import annotations

import base64
import binascii
import json
import struct
import warnings
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
    mark_absent(ds, lambda name: zarr_chunks(store[name], inside / name), str(path))
    _warn_of_copy(path, ds, group)
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


def _warn_of_copy(path: Path, ds: xr.Dataset, group: str | None) -> None:
    """Warn if consolidated metadata differs from the arrays, since other readers then see less."""
    copied = _copied_shapes(path, group)
    for name, shape in copied.items():
        found = ds.variables[name].shape if name in ds.variables else None
        if found is not None and tuple(shape) != found:
            warnings.warn(
                f"{path}: the consolidated metadata is older than the arrays: it gives '{name}' the shape "
                f"{tuple(shape)}, the array has {found}. The array is read. Update the metadata with "
                "`zarr.consolidate_metadata(STORE)`, so that other readers see all of it.",
                SourceWarning,
                stacklevel=2,
            )
            return


def _copied_shapes(path: Path, group: str | None) -> dict[str, Any]:
    """Shape by array name in the consolidated metadata; empty if there is none."""
    prefix = f"{group.strip('/')}/" if group and group.strip("/") else ""
    try:
        if (path / ".zmetadata").is_file():
            entries = json.loads((path / ".zmetadata").read_text())["metadata"]
            entries = {
                key.removesuffix("/.zarray"): v for key, v in entries.items() if key.endswith("/.zarray")
            }
        else:
            root = json.loads((path / "zarr.json").read_text())
            entries = (root.get("consolidated_metadata") or {}).get("metadata", {})
    except (OSError, ValueError, KeyError, AttributeError):
        return {}
    return {
        key.removeprefix(prefix): entry["shape"]
        for key, entry in entries.items()
        if key.startswith(prefix) and isinstance(entry, dict) and "shape" in entry
    }
