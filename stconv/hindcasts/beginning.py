"""The beginning of a store: its place is checked, and its template is written as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from stconv.datasets.remote.address import Address, Place
from stconv.datasets.remote.filesystem import content, exists, names_inside, put
from stconv.durable import beside
from stconv.errors import FileError
from stconv.forecast.output import check_destination
from stconv.hindcasts.journal import ATTRIBUTE
from stconv.hindcasts.store import full_disk

FIRST, LAST = ".zattrs", ".zmetadata"
"""Files that are uploaded first, since it tells whose template it is, and last, since it makes it a store."""


def check_store(place: Place) -> None:
    """Check, before anything is computed, that a hindcast can be written to a place.

    Raises:
        FileError: The name does not end in .zarr, or the place cannot be a store.
    """
    if isinstance(place, Path):
        check_destination(place)
    elif place.scheme in ("http", "https"):
        raise FileError(
            f"'{place}' is on a web server, which is only read; expected a path, or an address of an object "
            "store (s3://, gs://, az://)."
        )
    if place.suffix != ".zarr":
        raise FileError(f"'{place}' ends in '{place.suffix}'; a hindcast is written as .zarr.")


def is_begun(place: Place, origin: str) -> bool:
    """Return whether there is a store to go on with; half a template in an object store is none.

    Args:
        place: Folder or address of the store.
        origin: Origin of the forecasts, as the text of the journal.

    Raises:
        FileError: The address holds something else.
    """
    if isinstance(place, Path):
        return place.exists()
    if exists(place.inside(LAST)):
        return True
    if names_inside(place) and not _half_uploaded(place, origin):
        raise FileError(f"'{place}' holds something else than this hindcast. Name another one, or remove it.")
    return False


def _half_uploaded(place: Address, origin: str) -> bool:
    first = place.inside(FIRST)
    try:
        return exists(first) and json.loads(content(first)).get(ATTRIBUTE) == origin
    except ValueError:
        return False


def write_template(found: xr.Dataset, place: Place) -> None:
    """Write the template as a store; complete or not at all.

    Raises:
        FileError: The disk is full, or the object store refuses to write.
    """
    if isinstance(place, Address):
        with TemporaryDirectory() as folder:
            local = Path(folder, place.name)
            with full_disk(local):
                _write(found, local)
            _upload(local, place)
        return
    scratch = beside(place)
    try:
        with full_disk(place):
            _write(found, scratch)
            os.replace(scratch, place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(found: xr.Dataset, path: Path) -> None:
    found.to_zarr(path, zarr_format=2, consolidated=True, compute=False)


def _upload(local: Path, address: Address) -> None:
    """Upload a store whose forecasts are not made yet, so that it is one once the last file is there."""
    keys = [file.relative_to(local).as_posix() for file in local.rglob("*") if file.is_file()]
    for key in sorted(keys, key=lambda key: (key != FIRST, key == LAST, key)):
        put(address.inside(key), (local / key).read_bytes())
