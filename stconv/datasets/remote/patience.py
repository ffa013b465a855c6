"""Requests over a network, tried again with growing waits; what cannot be read is named in one sentence."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from stconv.datasets.remote.address import Address
from stconv.errors import ConnectionLostError, FileError, StconvError

T = TypeVar("T")
Wanted = Literal["read", "written"]

ATTEMPTS = 5
"""Number of times that a request is sent before it fails."""
FIRST_WAIT_SECONDS = 0.5
"""Wait before the second attempt; each further wait is twice as long, and up to half of it random."""
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError)
_TO_RETRY = {408, 425, 429}
"""Status codes of HTTP below 500 after which a request may succeed later."""
_NO_ACCESS = {401, 403}


def patiently(ask: Callable[[], T], address: Address | str, wanted: Wanted = "read") -> T:
    """Send a request until it succeeds; see `ATTEMPTS`.

    Args:
        ask: Sends the request once.
        address: Its address, for messages.
        wanted: Purpose of the request, for messages.

    Raises:
        ConnectionLostError: The connection failed each time.
        FileError: The server refuses access, or has no place to write to.
        FileNotFoundError: The server says that there is no such file to read.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except Exception as error:  # each library raises its own errors
            _raise_unless_transient(error, address, attempt, wanted)
        time.sleep(_wait_seconds(attempt))
    raise AssertionError("the last attempt returns or raises")


async def patiently_async(
    ask: Callable[[], Awaitable[T]], address: Address | str, wanted: Wanted = "read"
) -> T:
    """Send a request of a coroutine until it succeeds, as `patiently` does."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await ask()
        except Exception as error:  # each library raises its own errors
            _raise_unless_transient(error, address, attempt, wanted)
        await asyncio.sleep(_wait_seconds(attempt))
    raise AssertionError("the last attempt returns or raises")


def _wait_seconds(attempt: int) -> float:
    return FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1) * random.uniform(1, 1.5)


def _raise_unless_transient(error: Exception, address: Address | str, attempt: int, wanted: Wanted) -> None:
    cause = _origin_of(error)
    if isinstance(error, StconvError):
        raise error
    status = _status(cause)
    if isinstance(cause, FileNotFoundError) or status == 404:
        if wanted == "written":
            raise FileError(f"'{address}' cannot be written: {_text(cause)}. Create the bucket.") from error
        if isinstance(error, FileNotFoundError):
            raise error
        raise FileError(f"{address}: it refers to something that is not there ({_text(cause)}).") from error
    if isinstance(cause, PermissionError) or status in _NO_ACCESS or "Credential" in type(cause).__name__:
        raise FileError(
            f"'{address}' may not be {wanted} ({_text(cause)}). Set the credentials in the environment, as "
            "for other programs that use this storage: AWS_PROFILE or AWS_ACCESS_KEY_ID, "
            "GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, or ~/.netrc."
        ) from error
    permanent = status is not None and status < 500 and status not in _TO_RETRY
    if permanent or isinstance(cause, _PERMANENT):
        raise FileError(f"'{address}' cannot be {wanted}: {_text(cause)}. Check the address.") from error
    if attempt == ATTEMPTS:
        raise ConnectionLostError(
            f"The connection to '{address}' was lost {ATTEMPTS} times in a row (at last: {_text(cause)}). "
            "Check the network and the server, and start again."
        ) from error


def _origin_of(error: BaseException) -> BaseException:
    """The error of the server below one that only says that a reference or a file was not reached."""
    below = error.__cause__
    while below is not None and (
        type(error).__name__ == "ReferenceNotReachable"
        or (isinstance(error, FileNotFoundError) and _status(below) != 404)
    ):
        error, below = below, below.__cause__
    return error


def _status(error: BaseException) -> int | None:
    """Status code of HTTP that an error of aiohttp, botocore (below one of s3fs), gcsfs or Azure carries."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(error, "status_code", None)
        found = found or getattr(error, "code", None)
    try:
        return int(found) if found is not None else None
    except (TypeError, ValueError):
        return None


def _text(error: BaseException) -> str:
    """First line of an error, or its kind where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
