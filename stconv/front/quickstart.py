"""The parts of `stconv quickstart`: its data, its request over HTTP, its picture, and when it has failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.errors import ServiceError

if TYPE_CHECKING:
    import xarray as xr

    from stconv.front.serving import Service
    from stconv.verification import Verification

DATA, UNSEEN = "quickstart.nc", "unseen.nc"
REQUEST, FORECAST, PICTURE = "request.nc", "forecast.nc", "forecast.png"
TIE = 0.005
"""Relative difference of two errors that another machine's rounding may turn around in a training."""
N_REQUEST = 5
"""Frames of the request, the `t_in` of the configuration."""
NETCDF = "application/x-netcdf"


@dataclass(frozen=True)
class Answer:
    """An answer of the service.

    Attributes:
        address: Address that was asked.
        status: Status code of HTTP.
        n_bytes: Size of the answer, bytes.
        forecast: The forecast in it.
    """

    address: str
    status: int
    n_bytes: int
    forecast: xr.Dataset


def generate_data() -> None:
    """Write a series to train on, and a later one that no training sees, to the working folder."""
    from stconv.datasets.recipes.synthetic import generate

    generate(DATA, unseen=UNSEEN)


def losses(result: Verification) -> list[str]:
    """Say for each reference at which leads its error is smaller than the model's, by more than a tie."""
    sums = result.sums
    sentences = []
    for reference in sums.references:
        for variable, ours, theirs in zip(
            sums.variables, sums.rmse(sums.model), sums.rmse(reference), strict=True
        ):
            lost = [lead for lead, below in enumerate(ours < (1 + TIE) * theirs) if not below]
            if lost:
                errors = ", ".join(
                    f"{ours[lead]:.4g} against {theirs[lead]:.4g} at lead {lead + 1}" for lead in lost
                )
                sentences.append(f"The model loses to {reference}: RMSE of {variable} {errors}.")
    return sentences


def make_request() -> xr.Dataset:
    """Write the first frames of the unseen series as a request, and return the whole series."""
    import xarray as xr

    with xr.open_dataset(UNSEEN) as ds:
        later = ds.load()
    later.isel(time=slice(0, N_REQUEST)).to_netcdf(REQUEST)
    return later


def ask(service: Service) -> Answer:
    """Send the request, and write the answer to the working folder.

    Raises:
        ServiceError: The service refused it.
    """
    import httpx
    import xarray as xr

    address = f"{service.url}/v1/forecasts?model={service.name}"
    answer = httpx.post(
        address,
        content=Path(REQUEST).read_bytes(),
        headers={"Content-Type": NETCDF, "Accept": NETCDF},
        timeout=120,
    )
    if answer.status_code != 200:
        raise ServiceError(
            f"The service refused the forecast with status {answer.status_code}: {answer.text[:500]}"
        )
    Path(FORECAST).write_bytes(answer.content)
    with xr.open_dataset(FORECAST, decode_timedelta=True) as ds:
        forecast = ds.load()
    return Answer(address, answer.status_code, len(answer.content), forecast)


def draw(truth: xr.Dataset, forecast: xr.Dataset) -> Path:
    """Draw truth, forecast and error per lead of the requested field."""
    import numpy as np

    from stconv.datasets.recipes.synthetic import VARIABLE
    from stconv.verification.report.field_plot import forecast_plot

    leads = forecast.sizes["lead"]
    coming = truth.isel(time=slice(N_REQUEST, N_REQUEST + leads))
    field = forecast[VARIABLE].squeeze()
    hours = [
        int((t - truth["time"].values[N_REQUEST - 1]) / np.timedelta64(1, "h")) for t in coming["time"].values
    ]
    path = forecast_plot(
        coming[VARIABLE].values,
        field.transpose("lead", "lat", "lon").values,
        PICTURE,
        lead_labels=[f"{h} h" for h in hours],
        valid_times=[str(t)[:16] for t in coming["time"].values],
        lat=truth["lat"].values,
        lon=truth["lon"].values,
        title="2 m temperature: forecast over HTTP of a field that the model has not seen",
        units="K",
    )
    return path.resolve()
