"""Client of a forecast service: xarray in and out, with refusals as the library's exceptions."""

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
    """Client of one forecast service.

    Args:
        url: URL of the service, such as "http://127.0.0.1:8000".
        key: API key, if the service requires one.
        timeout_seconds: Timeout of one request, s.
        patience_seconds: Time to keep retrying while the server is busy or cannot be reached, s.
        transport: Transport of httpx, for tests and proxies.
        sleep: Function that waits a number of seconds.
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
        """One model; `input` describes the required variables, units, grid, step and number of frames."""
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
            ds: The model's inputs on its grid, with any names and order that `Forecaster.forecast` accepts.
                All of it is sent, so select the frames that the model needs.
            model: Name of the model; not needed if the service has only one.
            steps: Number of leads; None for the number that the model was trained for.
            variables: Names of the variables to return; None for all.
            bands: Whether to return the uncertainty bands, if the model has any.

        Returns:
            The result of `Forecaster.forecast`, with the names, order, conventions and units of `ds`.

        Raises:
            DataError: The input does not fit the model; subclass and message give the reason.
            ServiceError: The service refuses, fails or cannot be reached.
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
        """Forecast from the newest data of the service itself; arguments and errors as in `forecast`."""
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
        """Forecast the cell that contains a point, from the newest data of the service.

        Returns:
            JSON values in the form of Open-Meteo: coordinates of the cell, a block of times and values by
            variable, and the units of the block.
        """
        place = {"latitude": latitude, "longitude": longitude}
        asked = place | parameters(model=model, steps=steps, variables=variables, bands=bands)
        found: dict[str, Any] = self._service.ask("GET", "/v1/forecast", params=asked).json()
        return found

    def stored(self, model: str | None = None) -> list[dict[str, Any]]:
        """List the stored forecasts from the service's own data, with reference time and creation time."""
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
        """Fetch a stored forecast.

        Args:
            reference_time: Reference time, as ISO 8601 text or a time object.
            model: Name of the model; not needed if the service has only one.
            variables: Names of the variables to return; None for all.
            bands: Whether to return the uncertainty bands, if the forecast has any.

        Raises:
            ServiceError: The forecast is not stored, or was removed.
        """
        return self._stored("", reference_time, parameters(model=model, variables=variables, bands=bands))

    def truth(
        self, reference_time: Any, model: str | None = None, variables: Sequence[str] | None = None
    ) -> xr.Dataset:
        """Fetch the observed fields at the valid times of a stored forecast, NaN where not available yet."""
        return self._stored("/truth", reference_time, parameters(model=model, variables=variables))

    def archive(self, model: str | None = None) -> xr.Dataset:
        """Open all stored forecasts along `forecast_reference_time`, read lazily over Zarr.

        Raises:
            ServiceError: No forecast is stored.
        """
        import xarray as xr

        name = model or self._only_model()
        found = self._service.ask("GET", f"/zarr/{_quoted(name)}").json()
        if found["all"] is None:
            raise ServiceError(f"{self._url} has not stored a forecast of {name} yet.")
        options = {"client_kwargs": {"headers": self._headers}} if self._headers else None
        return xr.open_zarr(self._url + found["all"], storage_options=options)

    def verification(self, model: str | None = None) -> dict[str, Any]:
        """Live verification of the stored forecasts: RMSE, skill and number of cases for each lead."""
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
        """Submit a forecast as a job in the background; arguments and errors as in `forecast`.

        Args:
            ds: See `forecast`.
            model: See `forecast`.
            steps: See `forecast`; the limit is higher.
            variables: See `forecast`.
            bands: See `forecast`.
            idempotency_key: Any text; equal requests with equal text are the same job. By default each call
                creates one new job, even if the connection breaks and the request is repeated.

        Returns:
            The job, with methods `wait` and `result`.
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
        """Find a submitted job by its id."""
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
            raise ServiceError(
                f"The service has several models. Choose one with `model`: {', '.join(names)}."
            )
        return str(names[0])


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def parameters(**given: Any) -> dict[str, Any]:
    """Select the given parameters and join lists with commas."""
    return {
        name: value if isinstance(value, str | int) else ",".join(value)
        for name, value in given.items()
        if value is not None
    }
