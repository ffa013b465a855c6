"""Stores of Zarr told from other sources, and the state of a source on the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stconv.datasets.remote.address import FILE_SUFFIXES, Address, Place
from stconv.datasets.remote.filesystem import content, exists, names_inside, state
from stconv.datasets.remote.repository import snapshot

METADATA = (".zgroup", ".zmetadata", "zarr.json")
"""Files that a Zarr store has at its root."""
_ICECHUNK = {"refs", "snapshots"}
"""Folders of an Icechunk repository."""


def store_kind(place: Place) -> str | None:
    """Tell a store of Zarr from other sources.

    Args:
        place: A file, a folder or an address.

    Returns:
        "zarr", "references" (kerchunk) or "icechunk"; None for anything else.
    """
    if isinstance(place, Address):
        if place.suffix.lower() in FILE_SUFFIXES:
            return None
        if place.suffix.lower() == ".json":
            return "references"
        if found := next((name for name in METADATA if exists(place.inside(name))), None):
            parquet = found == ".zmetadata" and _is_parquet(content(place.inside(found)))
            return "references" if parquet else "zarr"
        if place.scheme in ("http", "https"):
            return None
        return "icechunk" if {found.name for found in names_inside(place)} >= _ICECHUNK else None
    if place.is_dir():
        if any((place / name).is_file() for name in METADATA):
            metadata = place / ".zmetadata"
            parquet = metadata.is_file() and _is_parquet(metadata.read_bytes())
            return "references" if parquet else "zarr"
        return "icechunk" if all((place / name).is_dir() for name in _ICECHUNK) else None
    return "references" if place.suffix.lower() == ".json" and _is_json_references(place) else None


def place_state(address: Address) -> list[tuple[Any, ...]]:
    """Tell states of a file or a store apart: one list, until the file changes or the store grows.

    A store is known by its metadata and that of its arrays, an Icechunk repository by its snapshot. Values
    that were overwritten in place, without a change of the metadata, are not noticed.
    """
    kind = store_kind(address)
    if kind == "icechunk":
        return [(address.url, snapshot(address).snapshot_id)]
    if kind is None or address.suffix.lower() == ".json":
        return [state(address)]
    files = [address.inside(name) for name in METADATA]
    if address.scheme not in ("http", "https"):
        folders = names_inside(address)
        files += [folder.inside(name) for folder in folders for name in (".zarray", "zarr.json")]
    return [state(file) for file in files if exists(file)]


def _is_parquet(metadata: bytes) -> bool:
    """Whether the metadata of a folder are those of references in Parquet."""
    try:
        return "record_size" in json.loads(metadata)
    except (ValueError, TypeError):
        return False


def _is_json_references(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and ("refs" in found or ".zgroup" in found or ".zmetadata" in found)
