"""Stores that a power cut or a fault of the disk left incomplete: found out, and set aside."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from service.archive.stores import SET_ASIDE, SUFFIX, iso_time

METADATA = "zarr.json"
KEPT_ASIDE = 5
_ABSENT = (FileNotFoundError, NotADirectoryError)


class BrokenStore(ValueError):  # noqa: N818 - an event of the archive, never an answer
    """A store lacks files, or its metadata cannot be read."""


def sound_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a store whose files are all there; every chunk of a stored forecast is written.

    Raises:
        BrokenStore: Says what is wrong, without the path.
        OSError: It cannot be read now, which is no proof that it is broken.
    """
    try:
        metadata: dict[str, Any] = json.loads((path / METADATA).read_text())
        for name, array in metadata["consolidated_metadata"]["metadata"].items():
            chunks = array["chunk_grid"]["configuration"]["chunk_shape"]
            expected = math.prod(math.ceil(n / c) for n, c in zip(array["shape"], chunks, strict=True))
            found = [file for file in (path / name).rglob("*") if file.is_file() and file.name != METADATA]
            if len(found) != expected or any(file.stat().st_size == 0 for file in found):
                raise BrokenStore(f"{len(found)} of {expected} chunks of '{name}' are there and not empty")
        metadata["attributes"], n_leads(metadata["consolidated_metadata"]["metadata"])
    except BrokenStore:
        raise
    except (*_ABSENT, ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
        raise BrokenStore(f"its metadata cannot be read ({type(error).__name__})") from error
    return metadata


def n_leads(arrays: dict[str, Any]) -> int:
    """Number of leads of a stored forecast, by the metadata of its arrays.

    Raises:
        KeyError: There is no array of the leads.
    """
    return int(arrays[lead_of_arrays(arrays)]["shape"][0])


def lead_of_arrays(arrays: dict[str, Any]) -> str:
    """Name of the leads; it is not always `lead`, which may be a variable of the user.

    Raises:
        KeyError: There is no array of the leads.
    """
    return _named(arrays, "forecast_period", 1)


def reference_of_arrays(arrays: dict[str, Any]) -> str:
    """Name of the reference time, likewise.

    Raises:
        KeyError: There is no array of the reference time.
    """
    return _named(arrays, "forecast_reference_time", 0)


def _named(arrays: dict[str, Any], standard_name: str, n_dims: int) -> str:
    for name, array in arrays.items():
        said = array.get("attributes", {}).get("standard_name")
        if said == standard_name and len(array["shape"]) == n_dims:
            return name
    raise KeyError(standard_name)


def set_aside(path: Path) -> None:
    """Take a store, or the file of scores, out of the archive without deleting it."""
    place = path.with_name(path.name.removesuffix(SUFFIX) + SET_ASIDE)
    remove(place)
    path.rename(place)


def aside(folder: Path) -> list[str]:
    """Names of what was set aside, as times where they are stores; the oldest are deleted."""
    found = sorted(folder.glob(f"*{SET_ASIDE}"), key=lambda path: path.stat().st_mtime)
    for path in found[:-KEPT_ASIDE]:
        remove(path)
    names = sorted(path.name.removesuffix(SET_ASIDE) for path in found[-KEPT_ASIDE:])
    return [iso_time(name) if name[0].isdigit() else name for name in names]


def remove(path: Path) -> None:
    """Delete a file or a folder that may not be there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
