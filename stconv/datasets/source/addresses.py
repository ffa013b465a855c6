"""Addresses of the network given for a file: only local files are read, and how to get one."""

from __future__ import annotations

import re
from pathlib import Path

from stconv.errors import FileError

_ADDRESS = re.compile(
    r"(?P<chain>(?:[a-z0-9]+::)*)(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>[^/].*)", re.IGNORECASE
)
_BY_SCHEME = {
    "s3": "aws s3 cp {address} FILE",
    "gs": "gcloud storage cp {address} FILE",
    "gcs": "gcloud storage cp {address} FILE",
    "az": "azcopy copy {address} FILE",
    "abfs": "azcopy copy {address} FILE",
    "http": "curl -O {address}",
    "https": "curl -O {address}",
    "ftp": "curl -O {address}",
}


def refuse_address(item: str | Path) -> None:
    """Say how to get the file, if a path is an address.

    Args:
        item: What was given for a file; of a `Path` the second slash of ``https://`` is already lost.

    Raises:
        FileError: It is an address.
    """
    match = _ADDRESS.fullmatch(str(item))
    if match is None or Path(item).exists():
        return
    address = f"{match['chain']}{match['scheme']}://{match['rest']}"
    scheme = match["scheme"].lower()
    if scheme == "file":
        raise FileError(f"'{address}' is an address; give the path alone: '/{match['rest']}'.")
    ways = " or ".join(f"`{way}`" for way in (_command(scheme, address), _in_python(address)) if way)
    raise FileError(
        f"'{address}' is an address of the network; only local files are read. Download it first, for "
        f"example with {ways}, and give the file."
    )


def _command(scheme: str, address: str) -> str:
    """The command that fetches it, empty if there is no usual one."""
    if "/dodsC/" in address or "opendap" in address.lower():
        return f"ncks {address} FILE.nc"
    command = _BY_SCHEME.get(scheme, "").format(address=address)
    if address.rstrip("/").endswith(".zarr"):
        return command.replace(" cp ", " cp --recursive ") if " cp " in command else ""
    return command


def _in_python(address: str) -> str:
    return f'xarray.open_dataset("{address}").to_netcdf("FILE.nc")'
