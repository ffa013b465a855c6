"""Stored forecasts and the observed fields at their valid times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from service.model.source import Source, own_data
from stconv.errors import FileError, VariableError
from stconv.forecast.output import reference_of, valid_time_of


def stored_forecast(path: Path) -> xr.Dataset:
    """Read a stored forecast.

    Raises:
        ServiceError: The store is damaged.
    """
    with own_data("The stored forecast"):
        try:
            with xr.open_dataset(path, engine="zarr", consolidated=True) as found:
                return found.load()
        except RuntimeError as error:  # of a codec that is given half a chunk
            raise FileError(f"'{path}' cannot be decoded: {error}") from error


def observed(path: Path, source: Source) -> xr.Dataset:
    """Read the observed fields at the valid times of a stored forecast, NaN where none are available yet.

    Raises:
        VariableError: The source has none of the forecast variables.
    """
    forecast = stored_forecast(path)
    series = source.open()
    times = list(forecast[valid_time_of(forecast)].values)
    truth = source.truth(series[0], times)
    if not truth:
        names = ", ".join(map(str, forecast.data_vars))
        raise VariableError(f"The data source has no observed field of {names}.")
    reference = forecast[reference_of(forecast)].values[()]
    found = source.as_forecast(truth, series, reference, times)
    known = np.stack([np.isfinite(field).any(axis=(1, 2)) for field in truth.values()]).any(axis=0)
    found.attrs = {
        "title": "Observed fields at the valid times of a forecast",
        "leads_known": f"{int(known.sum())} of {known.size}",
    }
    return found
