"""Addresses of data on the network, given in place of paths; no secret in any of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from stconv.errors import FileError

_ADDRESS = re.compile(
    r"(?P<chain>(?:[a-z0-9]+::)*)(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>[^/].*)", re.IGNORECASE
)
SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https")
"""Kinds of addresses that are read."""
FILE_SUFFIXES = (
    *(".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".grib", ".grib2", ".grb", ".grb2"),
    *(".npy", ".npz"),
)
"""Names of data files end so; of a store's name nothing is known."""
_SECRET = re.compile(
    r"(?<=://)[^/@?#]*:[^/@?#]*(?=@)|"
    r"(?<=[?&])[^&#=]*(?:token|key|secret|sign|credential|passw|pwd|auth|sig)[^&#=]*=[^&#]*",
    re.IGNORECASE,
)
"""Passwords, and parameters of a query that grant access, which do not belong into files and logs."""
_FROM_WHERE = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_ACCOUNT_KEY",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_ACCOUNT_KEY",
    "abfss": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_ACCOUNT_KEY",
}
"""Environment variables that hold the credentials, by scheme; a netrc file for other servers."""


@dataclass(frozen=True, order=True)
class Address:
    """The place of a file or a store on the network, with the parts of a `Path` that readers ask for.

    Attributes:
        url: The whole address, ``s3://bucket/era5.zarr``.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def scheme(self) -> str:
        """Kind of the address, in lower case."""
        return self.url.partition("://")[0]

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(urlsplit(self.url).path if self.scheme in ("http", "https") else self.url)

    @property
    def name(self) -> str:
        """Last part of the path, without a query."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """End of the name, from its last point on."""
        return self._path.suffix

    @property
    def has_pattern(self) -> bool:
        """Whether it is a pattern for several files; ``?`` begins a query in an address of a web server."""
        return "*" in self.url or (self.scheme not in ("http", "https") and "?" in self.url)

    def inside(self, key: str) -> Address:
        """Address of a part of a folder."""
        return Address(f"{self.url.rstrip('/')}/{key}")


Place = Path | Address
"""A source of data: on a disk or on the network."""


def address_of(item: str | Path | Address) -> Address | None:
    """Return the address that a user gave in place of a path; None for a path.

    Args:
        item: Path or address; a `Path` has lost the second slash of ``https://``, which is restored.

    Raises:
        FileError: The address holds a secret, or is of a kind that is not read.
    """
    if isinstance(item, Address):
        return item
    match = _ADDRESS.fullmatch(str(item))
    if match is None or Path(item).exists():
        return None
    scheme = match["scheme"].lower()
    if scheme == "file":
        raise FileError(
            f"'file:///{match['rest']}' is an address; expected a path. Give the path alone: "
            f"'/{match['rest']}'."
        )
    plain = f"{scheme}://{match['rest']}"
    shown = _SECRET.sub("***", plain)
    if shown != plain:
        raise FileError(
            f"'{match['chain']}{shown}' holds a password or a key, which would be written into runs, models "
            f"and logs. Leave it out of the address and set {_FROM_WHERE.get(scheme, 'it in ~/.netrc')}."
        )
    if match["chain"] or scheme not in SCHEMES or "/dodsC/" in plain or "opendap" in plain.lower():
        raise FileError(
            f"'{match['chain']}{plain}' is a network address of a kind that is not read; expected "
            f"{', '.join(f'{known}://' for known in ('s3', 'gs', 'az', 'https'))} of a file or a store. "
            f"Download it first, for example with {_downloads(match['chain'], plain)}, and give the file."
        )
    return Address(plain)


def place_of(item: str | Path | Address) -> Place:
    """Return the address or the path that a user gave.

    Raises:
        FileError: See `address_of`.
    """
    return address_of(item) or Path(str(item))


def refuse_secrets(paths: Iterable[str]) -> None:
    """Refuse addresses that hold a secret or cannot be read, before they are written anywhere.

    Raises:
        FileError: See `address_of`.
    """
    for path in paths:
        address_of(path)


def _downloads(chain: str, address: str) -> str:
    """Commands that download what an address names."""
    ways = [f'`xarray.open_dataset("{chain}{address}").to_netcdf("FILE.nc")`']
    if "/dodsC/" in address or "opendap" in address.lower():
        ways.insert(0, f"`ncks {shlex.quote(address)} FILE.nc`")
    elif address.startswith("ftp:"):
        ways.insert(0, f"`curl -o FILE {shlex.quote(address)}`")
    return " or ".join(ways)
