"""File systems on the network, by fsspec: what an address names, and its bytes."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from stconv.datasets.remote.address import Address
from stconv.datasets.remote.patience import patiently
from stconv.errors import FileError

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

CONNECT_SECONDS, READ_SECONDS = 15, 60
"""Longest waits for a connection and for the next bytes of an answer."""
_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
_IN_EXTRA = {"s3fs", "aiohttp"}


def require_packages(address: Address) -> None:
    """Refuse an address whose packages are not installed.

    Raises:
        FileError: The extra is absent; the message names it.
    """
    package = _PACKAGES[address.scheme]
    missing = [name for name in ("fsspec", package) if importlib.util.find_spec(name) is None]
    if missing:
        further = "" if package in _IN_EXTRA else f" {package}"
        raise FileError(
            f"'{address}' is a network address; reading it needs an extra: pip install "
            f"'stconv[cloud]'{further}."
        )


def filesystem(address: Address, asynchronous: bool = False) -> AsyncFileSystem:
    """Return the file system of an address; credentials come from the environment and profiles.

    Args:
        address: Address of a file or a store.
        asynchronous: Whether it is for coroutines, as Zarr reads.

    Raises:
        FileError: The extra is absent.
    """
    require_packages(address)
    import fsspec

    system: Any = fsspec.filesystem(address.scheme, asynchronous=asynchronous, **_options(address.scheme))
    if address.scheme == "s3":
        system.retries = 1  # `patiently` tries again; three layers that do would wait for minutes
    return system


def path_in(address: Address) -> str:
    """Path of an address as its file system names it."""
    return str(filesystem(address)._strip_protocol(address.url)).rstrip("/")


def _options(scheme: str) -> dict[str, Any]:
    """Options of fsspec; listings are not kept, since the service watches for new files."""
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "use_listings_cache": False}
    if scheme == "s3":
        waits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        options = {"config_kwargs": {**waits, "retries": {"max_attempts": 0}}, "use_listings_cache": False}
        return options | ({"anon": True} if without_credentials() else {})
    return {"use_listings_cache": False}


@cache
def without_credentials() -> bool:
    """Whether no credentials for S3 are found, so that only public buckets can be read."""
    import botocore.session

    if any(os.environ.get(name) for name in ("FSSPEC_S3", "FSSPEC_S3_ANON", "FSSPEC_S3_KEY")):
        return False
    return botocore.session.Session().get_credentials() is None


def exists(address: Address) -> bool:
    """Whether a server has a file under an address."""
    try:
        return bool(_info_once(address).get("type") != "directory")
    except FileNotFoundError:
        return False


def content(address: Address, start: int | None = None, stop: int | None = None) -> bytes:
    """Read the bytes of a file, or a range of them.

    Raises:
        FileError: There is no such file, or it may not be read.
        ConnectionLostError: The connection failed repeatedly.
    """
    try:
        return patiently(
            lambda: bytes(filesystem(address).cat_file(address.url, start=start, end=stop)), address
        )
    except FileNotFoundError as error:
        raise _no_such(address) from error


def put(address: Address, content: bytes) -> None:
    """Write a file, which is there as a whole or not at all.

    Raises:
        FileError: It may not be written, or there is no such bucket.
        ConnectionLostError: The connection failed repeatedly.
    """
    patiently(lambda: filesystem(address).pipe_file(address.url, content), address, "written")


def size(address: Address) -> int | None:
    """Bytes of a file; None if the server does not say.

    Raises:
        FileError: There is no such file.
    """
    found = _info(address).get("size")
    return None if found is None else int(found)


def state(address: Address) -> tuple[str, str]:
    """The address of a file, and what changes with its content: entity tag, version, time and size.

    Raises:
        FileError: There is no such file.
    """
    told = _info(address).items()
    found = {str(key).lower().replace("_", "").replace("-", ""): value for key, value in told}
    keys = ("etag", "versionid", "generation", "md5hash", "lastmodified", "mtime", "updated", "size")
    return address.url, repr([(key, str(found[key])) for key in keys if found.get(key) is not None])


def matches(pattern: Address) -> list[Address]:
    """Files and folders that match a pattern, sorted."""
    return sorted(_named(pattern, patiently(lambda: filesystem(pattern).glob(pattern.url), pattern)))


def names_inside(folder: Address) -> list[Address]:
    """Files and folders directly inside a folder, sorted; none if there is no such folder."""
    try:
        found = patiently(lambda: filesystem(folder).ls(folder.url, detail=False), folder)
    except FileNotFoundError:
        return []
    return sorted(address for address in _named(folder, found) if address.url != folder.url.rstrip("/"))


def total_bytes(place: Address) -> int | None:
    """Bytes of a file, or of all files of a folder; None if the server does not say."""
    try:
        return size(place)
    except FileError:
        pass
    try:
        return int(patiently(lambda: filesystem(place).du(place.url), place))
    except (FileNotFoundError, FileError, TypeError):
        return None


def _named(like: Address, found: list[Any]) -> list[Address]:
    """Addresses of what a file system lists, which leaves out the scheme of object storages."""
    texts = [str(path).rstrip("/") for path in found]
    return [Address(text if "://" in text else f"{like.scheme}://{text}") for text in texts]


def _info(address: Address) -> dict[str, Any]:
    try:
        found = _info_once(address)
    except FileNotFoundError as error:
        raise _no_such(address) from error
    if found.get("type") == "directory":
        raise _no_such(address)
    return found


def _info_once(address: Address) -> dict[str, Any]:
    return patiently(lambda: dict(filesystem(address).info(address.url)), address)


def _no_such(address: Address) -> FileError:
    return FileError(f"No file '{address}'. Check the address.")
