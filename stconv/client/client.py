"""Client of a forecast service: fields in and out as xarray, refusals as the errors of the library."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stconv.client.job import Job
from stconv.client.transport import Transport, opened
from stconv.errors import ServiceError

if TYPE_CHECKING:
    import httpx
    import xarray as xr

NETCDF = "application/x-netcdf"


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
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = url.rstrip("/")
        self._service = Transport(url, self._headers, timeout_seconds, patience_seconds, transport, sleep)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def models(self) -> list[dict[str, Any]]:
        """Name, version, leads and step of each model."""
        found: list[dict[str, Any]] = self._service.ask("GET", "/v1/models").json()["models"]
        return found

    def model(self, name: str) -> dict[str, Any]:
        """One model; `input` says what variables, units, grid, step and frames it needs."""
        found: dict[str, Any] = self._service.ask("GET", f"/v1/models/{_quoted(name)}").json()
        return found

    def forecast(
        self,
        ds: xr.Dataset,
        model: str | None = None,
        steps: int | None = None,
        variables: Sequence[str] | None = None,
        bands: bool = True,
    ) -> xr.Dataset:
        """Forecast from the newest window of a Dataset.

        Args:
            ds: The model's inputs on its grid, in any names and order that `Forecaster.forecast` takes. All
                of it is sent: cut it to the frames that the model needs.
            model: Its name; not needed where one is served.
            steps: Number of leads; by default those trained for.
            variables: To be given; all by default.
            bands: Also give the bands of uncertainty, if the model has any.

        Returns:
            As `Forecaster.forecast`, in the names, order, conventions and units of `ds`.

        Raises:
            DataError: The input does not fit; the subclass and the message say in what.
            ServiceError: The service refuses, fails or can not be reached.
        """
        body = bytes(ds.to_netcdf(engine="h5netcdf"))
        answer = self._service.ask(
            "POST",
            "/v1/forecasts",
            params=parameters(model=model, steps=steps, variables=variables, bands=bands),
            content=body,
            headers={"Content-Type": NETCDF, "Accept": NETCDF},
        )
        return opened(answer.content)

    def latest(
        self,
        model: str | None = None,
        steps: int | None = None,
        variables: Sequence[str] | None = None,
        bands: bool = True,
    ) -> xr.Dataset:
        """Forecast from the newest data of the service itself; arguments and errors as of `forecast`."""
        asked = parameters(model=model, steps=steps, variables=variables, bands=bands)
        return opened(
            self._service.ask("GET", "/v1/forecasts/latest", params=asked, headers={"Accept": NETCDF}).content
        )

    def point(
        self,
        latitude: float,
        longitude: float,
        model: str | None = None,
        steps: int | None = None,
        variables: Sequence[str] | None = None,
        bands: bool = True,
    ) -> dict[str, Any]:
        """Forecast the cell that holds a point, from the newest data of the service.

        Returns:
            The shape that users of Open-Meteo know: coordinates of the cell, a block of times and values by
            variable, and the units of the block.
        """
        place = {"latitude": latitude, "longitude": longitude}
        asked = place | parameters(model=model, steps=steps, variables=variables, bands=bands)
        found: dict[str, Any] = self._service.ask("GET", "/v1/forecast", params=asked).json()
        return found

    def stored(self, model: str | None = None) -> list[dict[str, Any]]:
        """The forecasts that the service stored from its own data: reference time, when made, how usual."""
        asked = parameters(model=model)
        found: list[dict[str, Any]] = self._service.ask("GET", "/v1/forecasts", params=asked).json()[
            "forecasts"
        ]
        return found

    def stored_forecast(
        self,
        reference_time: Any,
        model: str | None = None,
        variables: Sequence[str] | None = None,
        bands: bool = True,
    ) -> xr.Dataset:
        """A stored forecast.

        Args:
            reference_time: ISO 8601 text, or a time.
            model: Its name; not needed where one is served.
            variables: To be given; all by default.
            bands: Also give the bands of uncertainty, if it has any.

        Raises:
            ServiceError: It is not, or not any more, stored.
        """
        return self._stored("", reference_time, parameters(model=model, variables=variables, bands=bands))

    def truth(
        self, reference_time: Any, model: str | None = None, variables: Sequence[str] | None = None
    ) -> xr.Dataset:
        """What was observed at the valid times of a stored forecast, in its form; NaN where not yet known."""
        return self._stored("/truth", reference_time, parameters(model=model, variables=variables))

    def archive(self, model: str | None = None) -> xr.Dataset:
        """All stored forecasts along `forecast_reference_time`, read over Zarr when they are used.

        Raises:
            ServiceError: None is stored.
        """
        import xarray as xr

        name = model or self._only_model()
        found = self._service.ask("GET", f"/zarr/{_quoted(name)}").json()
        if found["all"] is None:
            raise ServiceError(f"{self._url} has not stored a forecast of {name} yet.")
        options = {"client_kwargs": {"headers": self._headers}} if self._headers else None
        return xr.open_zarr(self._url + found["all"], storage_options=options)

    def verification(self, model: str | None = None) -> dict[str, Any]:
        """How good the stored forecasts were: RMSE, skill and number of cases for each lead."""
        asked = parameters(model=model)
        found: dict[str, Any] = self._service.ask("GET", "/v1/verification", params=asked).json()
        return found

    def submit(
        self,
        ds: xr.Dataset,
        model: str | None = None,
        steps: int | None = None,
        variables: Sequence[str] | None = None,
        bands: bool = True,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """Let a forecast be made in the background; arguments and errors as of `forecast`.

        Args:
            ds: As in `forecast`.
            model: As in `forecast`.
            steps: As in `forecast`; many more are allowed.
            variables: As in `forecast`.
            bands: As in `forecast`.
            idempotency_key: A name of your own; the same request with the same name is the same job. By
                default each call is a job of its own, made once however often the connection breaks.

        Returns:
            The job; `wait` and `result` are its methods.
        """
        import uuid

        headers = {
            "Content-Type": NETCDF,
            "Accept": NETCDF,
            "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
        }
        body = bytes(ds.to_netcdf(engine="h5netcdf"))
        asked = parameters(model=model, steps=steps, variables=variables, bands=bands)
        answer = self._service.ask("POST", "/v1/jobs", params=asked, content=body, headers=headers)
        return Job(self._service, answer.json()["id"])

    def job(self, id: str) -> Job:
        """A job that was submitted before, by its id."""
        return Job(self._service, id)

    def _stored(self, what: str, reference_time: Any, asked: dict[str, Any]) -> xr.Dataset:
        import numpy as np

        text = reference_time if isinstance(reference_time, str) else None
        if text is None:
            formatted = getattr(reference_time, "strftime", None)
            text = (
                formatted("%Y-%m-%dT%H:%M:%SZ")
                if formatted
                else f"{np.datetime_as_string(np.asarray(reference_time), unit='s')}Z"
            )
        path = f"/v1/forecasts/{_quoted(text)}{what}"
        return opened(self._service.ask("GET", path, params=asked, headers={"Accept": NETCDF}).content)

    def _only_model(self) -> str:
        names = [model["name"] for model in self.models()]
        if len(names) != 1:
            raise ServiceError(f"Say which model, one of: {', '.join(names)}.")
        return str(names[0])


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def parameters(**given: Any) -> dict[str, Any]:
    """Those that are given, lists with commas."""
    return {
        name: value if isinstance(value, str | int) else ",".join(value)
        for name, value in given.items()
        if value is not None
    }
