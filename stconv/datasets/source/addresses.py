"""Network addresses given instead of a file, and the command that downloads each."""

from __future__ import annotations

import re
import shlex
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
    "http": "curl -L -o FILE {address}",
    "https": "curl -L -o FILE {address}",
    "ftp": "curl -o FILE {address}",
}
_SECRET = re.compile(
    r"(?<=://)[^/@?#]*:[^/@?#]*(?=@)|"
    r"(?<=[?&])[^&#=]*(?:token|key|secret|sign|credential|passw|pwd|auth|sig)[^&#=]*=[^&#]*",
    re.IGNORECASE,
)
"""Names with passwords and parameters of a query that grant access, which do not belong into logs."""


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
    scheme = match["scheme"].lower()
    if scheme == "file":
        raise FileError(
            f"'file:///{match['rest']}' is an address; expected a path. Give the path alone: "
            f"'/{match['rest']}'."
        )
    plain = f"{match['scheme']}://{match['rest']}"
    shown = _SECRET.sub("***", plain)
    ways = " or ".join(
        f"`{way}`" for way in (_command(scheme, shown), _in_python(match["chain"] + shown)) if way
    )
    raise FileError(
        f"'{match['chain']}{shown}' is a network address; only local files can be read. Download it "
        f"first, for example with {ways}, and give the file."
    )


def _command(scheme: str, address: str) -> str:
    """The command that downloads an address; empty if none is known."""
    quoted = shlex.quote(address)
    if "/dodsC/" in address or "opendap" in address.lower():
        return f"ncks {quoted} FILE.nc"
    command = _BY_SCHEME.get(scheme, "").format(address=quoted)
    if address.rstrip("/").endswith(".zarr"):
        return command.replace(" cp ", " cp --recursive ") if " cp " in command else ""
    return command


def _in_python(address: str) -> str:
    return f'xarray.open_dataset("{address}").to_netcdf("FILE.nc")'
