"""The check that an input holds observations; a forecast would be continued in silence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from stconv.errors import DataError

BUNDLE_HASH = "bundle_sha256"
"""Attribute of every forecast of stconv."""

OBSERVED = "leads_known"
"""Attribute of the observed fields that the service gives in the form of a forecast."""


def refuse_forecast(ds: xr.Dataset, steps_are_data: bool = False) -> None:
    """Refuse a Dataset that is a forecast itself.

    A forecast has the attributes of stconv, or one reference time and several leads after it (CF conventions,
    standard names `forecast_reference_time` and `forecast_period`).

    Args:
        ds: Input, decoded or not.
        steps_are_data: The model was trained on the first steps of forecasts, such as accumulated rain.

    Raises:
        DataError: The Dataset is a forecast.
    """
    if OBSERVED in ds.attrs:
        return
    if BUNDLE_HASH in ds.attrs:
        made = f"made by stconv with the model {ds.attrs.get('model_name', '')!s:.60}".strip()
    elif not steps_are_data and _one_reference(ds) and (leads := _leads(ds)) > 1:
        made = f"with one reference time and {leads} leads after it"
    else:
        return
    raise DataError(
        f"The input is a forecast ({made}), expected observations. Give the observed fields up to the newest "
        "time. If the file does hold observations, remove the attributes and coordinates that say otherwise."
    )


def _named(ds: xr.Dataset, standard_name: str) -> Iterator[xr.Variable]:
    return (v for v in ds.variables.values() if v.attrs.get("standard_name") == standard_name)


def _one_reference(ds: xr.Dataset) -> bool:
    found = list(_named(ds, "forecast_reference_time"))
    return bool(found) and all(variable.size == 1 for variable in found)


def _leads(ds: xr.Dataset) -> int:
    """The number of distinct leads after the reference time."""
    found = _named(ds, "forecast_period")
    periods = [variable.values for variable in found if variable.ndim < 2 and variable.dtype.kind in "iufm"]
    return max((np.unique(values[values > np.zeros((), values.dtype)]).size for values in periods), default=0)
