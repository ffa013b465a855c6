"""Network addresses given instead of a file, and the command that downloads each."""

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
    """Refuse a path that is an address, and say how to download the file.

    Args:
        item: Path given by the user; a `Path` has already lost the second slash of ``https://``.

    Raises:
        FileError: The path is an address.
    """
    match = _ADDRESS.fullmatch(str(item))
    if match is None or Path(item).exists():
        return
    address = f"{match['chain']}{match['scheme']}://{match['rest']}"
    scheme = match["scheme"].lower()
    if scheme == "file":
        raise FileError(
            f"'{address}' is an address; expected a path. Give the path alone: '/{match['rest']}'."
        )
    ways = " or ".join(f"`{way}`" for way in (_command(scheme, address), _in_python(address)) if way)
    raise FileError(
        f"'{address}' is a network address; only local files can be read. Download it first, for example "
        f"with {ways}, and give the file."
    )


def _command(scheme: str, address: str) -> str:
    """The command that downloads an address; empty if none is known."""
    if "/dodsC/" in address or "opendap" in address.lower():
        return f"ncks {address} FILE.nc"
    command = _BY_SCHEME.get(scheme, "").format(address=address)
    if address.rstrip("/").endswith(".zarr"):
        return command.replace(" cp ", " cp --recursive ") if " cp " in command else ""
    return command


def _in_python(address: str) -> str:
    return f'xarray.open_dataset("{address}").to_netcdf("FILE.nc")'
