"""HTTP requests to one service: retries as the server asks, and refusals as the library's exceptions."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stconv.errors import BY_CODE, URN, ServiceError, StconvError

if TYPE_CHECKING:
    import httpx
    import xarray as xr

AGAIN = frozenset({429, 502, 503})
"""HTTP statuses after which a request is sent again: the server is busy, or died behind its proxy meanwhile.

Every request of the client can be repeated; a job has an idempotency key.
"""
FIRST_PAUSE_SECONDS = 0.5


class Transport:
    """HTTP requests with retries.

    Args:
        url: URL of the service.
        headers: Headers of every request.
        timeout_seconds: Timeout of one request, s.
        patience_seconds: Time to keep retrying while the server is busy or cannot be reached, s.
        transport: Transport of httpx.
        sleep: Function that waits a number of seconds.
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        timeout_seconds: float,
        patience_seconds: float,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds, transport=transport)
        self._patience = patience_seconds
        self.sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, with retries, until there is an answer.

        Raises:
            StconvError: The service refused the request; the type is the one that the library raises locally.
            ServiceError: The service fails, cannot be reached, or was busy too long.
        """
        import httpx

        waited, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.ConnectError as error:
                problem: StconvError = ServiceError(
                    f"{self._http.base_url} cannot be reached: {error}. Is the service running there?"
                )
                wait = pause
            except httpx.TransportError as error:
                said = str(error) or type(error).__name__
                raise ServiceError(f"{self._http.base_url} did not answer {path}: {said}.") from error
            else:
                if answer.is_success:
                    return answer
                problem = _problem(answer)
                if answer.status_code not in AGAIN:
                    raise problem
                wait = max(retry_after(answer.headers.get("retry-after", "")), pause)
            if waited + wait > self._patience:
                raise problem
            self.sleep(wait)
            waited, pause = waited + wait, 2 * pause


def _problem(answer: httpx.Response) -> StconvError:
    """Return the library's exception for the type of a problem document."""
    try:
        document = answer.json()
        detail, kind = str(document["detail"]), str(document.get("type", ""))
    except (ValueError, KeyError, TypeError):
        detail, kind = answer.text[:200], ""
    known = BY_CODE.get(kind.removeprefix(f"{URN}:"), ServiceError)
    if known is ServiceError:
        return ServiceError(f"The service answered {answer.status_code}: {detail}")
    return known(detail)


def retry_after(value: str) -> float:
    """Parse Retry-After, a number or an HTTP date, as seconds from now; 0 if it is neither."""
    if value.isdecimal():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def opened(body: bytes) -> xr.Dataset:
    """Open a NetCDF file in memory, classic or NetCDF 4."""
    import io

    import xarray as xr

    return xr.load_dataset(io.BytesIO(body), engine="scipy" if body.startswith(b"CDF") else "h5netcdf")
