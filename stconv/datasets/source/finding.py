"""The files, stores and addresses that a user's paths name: folders and patterns become lists."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from stconv.datasets.remote.address import FILE_SUFFIXES, Address, Place, address_of
from stconv.datasets.remote.filesystem import exists, matches, names_inside, require_packages
from stconv.datasets.remote.kinds import store_kind
from stconv.errors import FileError

SUFFIXES = (*FILE_SUFFIXES, ".zarr")
"""File names that count as data in a folder."""


def find_files(paths: str | Path | Address | Sequence[str | Path | Address]) -> list[Place]:
    """List the files of a path, an address, a list, a pattern or a folder.

    Args:
        paths: A file, a Zarr store, a folder of data files, a pattern such as ``data/*.nc``, an address of
            any of these (``s3://bucket/era5.zarr``), or a list.

    Returns:
        Files in the order given; those of a pattern or a folder sorted by name.

    Raises:
        FileError: A path does not exist, or no file matches a pattern, or an address cannot be read.
    """
    given = [paths] if isinstance(paths, (str, Path, Address)) else list(paths)
    if not given:
        raise FileError("Expected at least one file, found none. Name a file, a folder or a pattern.")
    files: list[Place] = []
    for item in given:
        address = address_of(item)
        files.extend(_on_disk(Path(str(item)).expanduser()) if address is None else _on_network(address))
    return files


def _on_disk(path: Path) -> list[Place]:
    if path.is_file() or store_kind(path):
        return [path]
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise FileError(
                f"Folder '{path}' is not a Zarr store and holds no data files (looked for "
                f"{', '.join(SUFFIXES)}). Name the files, or a pattern such as 'folder/*'."
            )
        return list(inside)
    if glob.has_magic(str(path)):
        matching = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if not matching:
            raise FileError(f"No file matches '{path}'. Check the folder and the pattern (quote it).")
        return list(matching)
    raise FileError(f"No file '{path}' (working folder {Path.cwd()}). Check the path.")


def _on_network(address: Address) -> list[Place]:
    require_packages(address)
    if address.has_pattern:
        matching = matches(address)
        if not matching:
            raise FileError(f"No file matches '{address}'. Check the folder and the pattern (quote it).")
        return list(matching)
    if store_kind(address) or exists(address):
        return [address]
    inside = [found for found in names_inside(address) if found.suffix.lower() in SUFFIXES]
    if not inside:
        raise FileError(
            f"No file '{address}': there is neither a file nor a Zarr store, nor a folder with data files "
            f"({', '.join(SUFFIXES)}). Check the address."
        )
    return list(inside)
