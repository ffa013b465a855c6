"""The check that a file is as long as it declares, and that no part of it is damaged."""

from __future__ import annotations

import warnings
from pathlib import Path

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grib_messages import damaged_messages, valid_time
from stconv.datasets.source.netcdf_classic import announced
from stconv.errors import FileError

HDF5 = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""
UNKNOWN = 2**64 - 1
"""An address that the file does not state."""


def check_complete(path: Path, kind: str) -> None:
    """Refuse a truncated or damaged file of a format whose library returns zeros or skips the missing part.

    Args:
        path: The file.
        kind: "netcdf3" or "grib"; other formats are checked by their libraries.

    Raises:
        FileError: The file is truncated or damaged; the message says where.
    """
    if kind == "netcdf3":
        _check_records(path)
    elif kind == "grib":
        _check_messages(path)


def check_end(path: Path) -> None:
    """Refuse an HDF5 file that is shorter than its superblock says; the library checks that on opening alone.

    Of a file that was open when it became shorter, the library returns zeros for what is gone.

    Raises:
        FileError: The file is truncated.

    Source:
        HDF5 File Format Specification, version 3.0, II.A (the superblock).
    """
    with path.open("rb") as file:
        head = file.read(52)
    if not head.startswith(HDF5) or len(head) < 52:
        return
    at = {0: 40, 1: 44}.get(head[8], 28)
    n_bytes, end = path.stat().st_size, int.from_bytes(head[at : at + 8], "little")
    if head[13 if head[8] < 2 else 9] == 8 and n_bytes < end < UNKNOWN:
        raise FileError(
            f"'{path}' is truncated: it ends after {n_bytes} bytes of {end}. Download or write it again."
        )


def _check_messages(path: Path) -> None:
    """Refuse a GRIB file with damaged messages, which ecCodes skips."""
    damaged, n_complete = damaged_messages(path)
    if not damaged:
        return
    first = damaged[0]
    where = f"at byte {first.offset}" + (f", after {valid_time(path, first.last)}," if first.last else "")
    more = f", and so are {len(damaged) - 1} more" if len(damaged) > 1 else ""
    raise FileError(
        f"'{path}' is truncated or damaged: message {first.number + 1} {where} is cut short or has a changed "
        f"header{more} ({n_complete} messages are complete). Its step would be missing. Download or write "
        "the file again."
    )


def _check_records(path: Path) -> None:
    """Refuse a classic file that is shorter than its header declares; warn if it holds further records."""
    n_bytes = path.stat().st_size
    try:
        by_header = announced(path)
    except (ValueError, KeyError, IndexError):
        by_header = None
    if by_header is None or n_bytes < by_header.n_bytes:
        raise FileError(
            f"'{path}' is truncated: it ends ({n_bytes} bytes) before the end of the data that its header "
            "declares. Download or write it again."
        )
    if by_header.n_records is None:
        raise FileError(
            f"'{path}' was written as a stream: its header does not state the number of steps, which the "
            "NetCDF library needs. Write it again, for example with `xarray.Dataset.to_netcdf`."
        )
    further = (n_bytes - by_header.n_bytes) // by_header.record_bytes if by_header.record_bytes else 0
    if further:
        warnings.warn(
            f"{path}: the header declares {by_header.n_records} steps along the unlimited dimension; the "
            f"file is long enough for {further} more, which are not read. If its writer stopped before it "
            "was done, write it again.",
            SourceWarning,
            stacklevel=2,
        )
