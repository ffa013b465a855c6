"""Groups of a NetCDF 4 file or a Zarr store: those with fields, and the coordinates a group inherits.

Source: CF conventions 1.11, section 2.7: dimensions and coordinates of a group are found in its ancestors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.ranged_file import opened
from stconv.datasets.source.attributes import SourceWarning
from stconv.errors import FileError

FIELD_DIMS = 2
"""A variable with this many dimensions may be a field; with fewer it is a coordinate."""


def with_ancestors(ds: xr.Dataset, group: str, open_group: Callable[[str | None], xr.Dataset]) -> xr.Dataset:
    """Add the coordinates, grid mappings and bounds that a group inherits from the groups above.

    Args:
        ds: Undecoded variables of the group.
        group: Path of the group, such as ``model/surface``.
        open_group: Opens one of the groups above; None opens the root group.

    Returns:
        The group with the variables of its ancestors that lie on its dimensions, the nearest ones first.
    """
    parts = [part for part in group.split("/") if part]
    for depth in reversed(range(len(parts))):
        above = open_group("/".join(parts[:depth]) or None)
        sizes = dict(ds.sizes)
        taken = {
            name: variable
            for name, variable in above.variables.items()
            if name not in ds.variables
            and variable.ndim <= FIELD_DIMS
            and all(sizes.get(dim) == size for dim, size in variable.sizes.items())
        }
        ds = ds.assign(taken).set_coords([name for name in taken if name in above.coords])
    return ds


def tell_of_groups(path: Place, kind: str, ds: xr.Dataset, group: str | None = None) -> None:
    """Name the groups that hold fields, if there is none in the group that was opened.

    Args:
        path: File or store.
        kind: "hdf5", or the kind of a store; other formats have no groups.
        ds: Variables of the group.
        group: The group; None for the root, where further groups are told even if there are fields.

    Raises:
        FileError: All fields are in groups; the message names them.
    """
    inside = (group or "").strip("/")
    has_fields = any(variable.ndim >= FIELD_DIMS for variable in ds.data_vars.values())
    if inside and has_fields:
        return
    groups = [name for name in _groups_of(path, kind) if not inside or name.startswith(f"{inside}/")]
    if not groups:
        return
    shown = ", ".join(groups[:12]) + (f" and {len(groups) - 12} more" if len(groups) > 12 else "")
    if has_fields:
        warnings.warn(
            f"{path}: the groups {shown} hold variables as well, and are not read. To read one instead, "
            f"choose it with `group`, for example `--group {groups[0]}`.",
            SourceWarning,
            stacklevel=2,
        )
        return
    raise FileError(
        f"'{path}' holds {f'the variables of {inside}' if inside else 'its variables'} in groups: {shown}. "
        f"Choose one with `group`, for example `--group {groups[0]}`."
    )


def _groups_of(path: Place, kind: str) -> Iterator[str]:
    """Paths of the groups with variables of two or more dimensions; of a web server's store, none."""
    if kind == "hdf5" and isinstance(path, Path):
        import netCDF4

        with netCDF4.Dataset(path) as file:
            yield from _walk(file, "")
    elif kind == "hdf5" and isinstance(path, Address):
        import h5netcdf

        with h5netcdf.File(opened(path), "r", phony_dims="access") as file:
            yield from _walk(file, "")
    elif kind in ("zarr", "references", "icechunk"):
        import zarr

        from stconv.datasets.remote.store import open_store

        store = open_store(path, kind, lambda key: None)
        found = {
            name.rpartition("/")[0]
            for name, member in zarr.open_group(store, mode="r", use_consolidated=False).members(
                max_depth=None
            )
            if isinstance(member, zarr.Array) and member.ndim >= FIELD_DIMS
        }
        yield from sorted(found - {""})


def _walk(group: Any, prefix: str) -> Iterator[str]:
    for name, inner in group.groups.items():
        here = f"{prefix}{name}"
        if any(len(variable.shape) >= FIELD_DIMS for variable in inner.variables.values()):
            yield here
        yield from _walk(inner, f"{here}/")
