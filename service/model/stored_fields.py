"""Stored forecasts, and the observed fields next to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from service.model.source import Source
from stconv.dims import LEAD, TIME
from stconv.errors import VariableError


def stored_forecast(path: Path) -> xr.Dataset:
    """A forecast as it was stored."""
    with xr.open_dataset(path, engine="zarr", consolidated=True) as found:
        return found.load()


def observed(path: Path, source: Source) -> xr.Dataset:
    """What was observed at the valid times of a stored forecast, in its form; NaN where nothing is known yet.

    Raises:
        VariableError: The source has none of the forecast variables.
    """
    forecast = stored_forecast(path)
    series = source.open()
    times = list(forecast[TIME].values)
    truth = source.truth(series[0], times)
    if not truth:
        names = ", ".join(map(str, forecast.data_vars))
        raise VariableError(f"The data source holds no truth of {names}.")
    reference = forecast["forecast_reference_time"].values[()]
    found = source.as_forecast(truth, series, reference, times)
    known = np.stack([np.isfinite(field).any(axis=(1, 2)) for field in truth.values()]).any(axis=0)
    found.attrs = {
        "title": "Observed at the valid times of a forecast",
        "leads_known": f"{int(known.sum())} of {found.sizes[LEAD]}",
    }
    return found
