"""Client of a forecast service: fields in and out as xarray, refusals as the errors of the library."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stconv import errors
from stconv.errors import ServiceError, StconvError

if TYPE_CHECKING:
    import httpx
    import xarray as xr

NETCDF = "application/x-netcdf"
BUSY = frozenset({429, 503})
"""The server says when to come back."""
FIRST_PAUSE_SECONDS = 0.5
_ERRORS = {
    re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower(): kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StconvError)
}


class Client:
    """Ask a service for forecasts.

    Args:
        url: Of the service, such as "http://127.0.0.1:8000".
        key: API key, if it wants one.
        timeout_seconds: Of one request.
        patience_seconds: How long to go on asking a server that is busy or can not be reached.
        transport: Of httpx; for tests and proxies.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_seconds: float = 120.0,
        patience_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds, transport=transport)
        self._patience = patience_seconds
        self._sleep = sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """Name, version, leads and step of each model."""
        found: list[dict[str, Any]] = self._ask("GET", "/v1/models").json()["models"]
        return found

    def model(self, name: str) -> dict[str, Any]:
        """One model; `input` says what variables, units, grid, step and frames it needs."""
        from urllib.parse import quote

        found: dict[str, Any] = self._ask("GET", f"/v1/models/{quote(name, safe='')}").json()
        return found

    def forecast(
        self,
        ds: xr.Dataset,
        model: str | None = None,
        steps: int | None = None,
        variables: Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Forecast from the newest window of a Dataset.

        Args:
            ds: The model's inputs on its grid, in any names and order that `Forecaster.forecast` takes. All
                of it is sent: cut it to the frames that the model needs.
            model: Its name; not needed where one is served.
            steps: Number of leads; by default those trained for.
            variables: To be given; all by default.

        Returns:
            As `Forecaster.forecast`, in the names, order, conventions and units of `ds`.

        Raises:
            DataError: The input does not fit; the subclass and the message say in what.
            ServiceError: The service refuses, fails or can not be reached.
        """
        body = bytes(ds.to_netcdf(engine="h5netcdf"))
        answer = self._ask(
            "POST",
            "/v1/forecasts",
            params=_parameters(model=model, steps=steps, variables=variables),
            content=body,
            headers={"Content-Type": NETCDF, "Accept": NETCDF},
        )
        return _opened(answer.content)

    def latest(
        self, model: str | None = None, steps: int | None = None, variables: Sequence[str] | None = None
    ) -> xr.Dataset:
        """Forecast from the newest data of the service itself; arguments and errors as of `forecast`."""
        parameters = _parameters(model=model, steps=steps, variables=variables)
        return _opened(
            self._ask("GET", "/v1/forecasts/latest", params=parameters, headers={"Accept": NETCDF}).content
        )

    def point(
        self,
        latitude: float,
        longitude: float,
        model: str | None = None,
        steps: int | None = None,
        variables: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Forecast the cell that holds a point, from the newest data of the service.

        Returns:
            The shape that users of Open-Meteo know: coordinates of the cell, a block of times and values by
            variable, and the units of the block.
        """
        place = {"latitude": latitude, "longitude": longitude}
        parameters = place | _parameters(model=model, steps=steps, variables=variables)
        found: dict[str, Any] = self._ask("GET", "/v1/forecast", params=parameters).json()
        return found

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        import httpx

        waited, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.ConnectError as error:
                problem: StconvError = ServiceError(
                    f"{self._http.base_url} can not be reached: {error}. Is the service running there?"
                )
                wait = pause
            except httpx.TransportError as error:
                said = str(error) or type(error).__name__
                raise ServiceError(f"{self._http.base_url} did not answer {path}: {said}.") from error
            else:
                if answer.is_success:
                    return answer
                problem = _problem(answer)
                if answer.status_code not in BUSY:
                    raise problem
                wait = max(_retry_after(answer.headers.get("retry-after", "")), pause)
            if waited + wait > self._patience:
                raise problem
            self._sleep(wait)
            waited, pause = waited + wait, 2 * pause


def _parameters(**given: Any) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int) else ",".join(value)
        for name, value in given.items()
        if value is not None
    }


def _opened(body: bytes) -> xr.Dataset:
    import xarray as xr

    return xr.load_dataset(body, engine="h5netcdf")


def _problem(answer: httpx.Response) -> StconvError:
    """The error that the library would have raised, by the type of the problem document."""
    try:
        document = answer.json()
        detail, kind = str(document["detail"]), str(document.get("type", ""))
    except (ValueError, KeyError, TypeError):
        detail, kind = answer.text[:200], ""
    known = _ERRORS.get(kind.removeprefix("urn:stconv:problem:"), ServiceError)
    if known is ServiceError:
        return ServiceError(f"The service answered {answer.status_code}: {detail}")
    return known(detail)


def _retry_after(value: str) -> float:
    """Seconds, from a number of them or from an HTTP date; 0 if it is neither."""
    if value.isdecimal():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
