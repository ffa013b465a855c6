"""Successive short forecasts (reference time by lead), converted to one series of valid times."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from stconv.clock import HOUR, TIME_UNITS
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.reading import chunked

LEAD_NAMES = ("step", "lead", "lead_time", "leadtime", "forecast_period", "fcst_hour", "forecast_hour")
CHUNK_BYTES = 64 * 2**20


def at_valid_times(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Put forecasts that do not overlap one after another; any other dataset is unchanged.

    ERA5-Land in GRIB has a forecast of 24 steps for each day. Frames before the first and after the last one
    with values are dropped, since the first forecast may begin with later steps.

    Args:
        ds: Decoded dataset.
        spec: Settings; if a lead is selected, the dataset is unchanged.
        source: File or dataset, for messages.
    """
    found = _reference_and_lead(ds, spec)
    if found is None:
        return ds
    reference, lead = found
    valid = _valid_times(ds, reference, lead)
    if valid is None or np.unique(valid).size < valid.size:
        return ds
    order = np.argsort(valid.ravel(), kind="stable")
    variables = {}
    for name, variable in ds.variables.items():
        if reference not in variable.dims and lead not in variable.dims:
            variables[name] = variable
        elif {reference, lead} <= set(variable.dims) and variable.ndim > 2:
            variables[name] = _stacked(variable, reference, lead, source).isel({reference: order})
        elif variable.ndim > 2:
            warnings.warn(
                f"{source}: '{name}' is left out, since only one of '{reference}' and '{lead}' is among its "
                f"dimensions, and the fields of both become one series. To read it alone, select a step: "
                f"`--select {lead}={ds[lead].values[0]}`.",
                SourceWarning,
                stacklevel=2,
            )
    times = xr.Variable((reference,), valid.ravel()[order], {"standard_name": "time", "axis": "T"})
    series = xr.Dataset(variables, attrs=ds.attrs).assign_coords({reference: times})
    series = series.set_coords([name for name in ds.coords if name in series.variables])
    return _between_values(series, reference)


def _reference_and_lead(ds: xr.Dataset, spec: GridSpec) -> tuple[str, str] | None:
    """Dimensions of reference times and leads; None if there are none or the user selects one."""
    times = [d for d in ds.dims if d in ds.variables and np.issubdtype(ds[d].dtype, np.datetime64)]
    leads = [
        d
        for d in ds.dims
        if d in ds.variables
        and (ds[d].attrs.get("standard_name") == "forecast_period" or str(d).lower() in LEAD_NAMES)
    ]
    if len(times) != 1 or len(leads) != 1 or leads[0] in spec.select or times[0] in spec.select:
        return None
    if ds.sizes[leads[0]] < 2:
        return None
    return str(times[0]), str(leads[0])


def _valid_times(ds: xr.Dataset, reference: str, lead: str) -> np.ndarray | None:
    """Valid times, datetime64, (reference time, lead); None if the leads have no unit."""
    for variable in ds.variables.values():
        if set(variable.dims) == {reference, lead} and np.issubdtype(variable.dtype, np.datetime64):
            return np.asarray(variable.transpose(reference, lead).values).astype("datetime64[ns]")
    leads = ds[lead].values
    if not np.issubdtype(leads.dtype, np.timedelta64):
        unit = str(ds[lead].attrs.get("units", "")).lower().rstrip("s")
        seconds = {"hr": HOUR.seconds} | {name: u.seconds for u in TIME_UNITS for name in (u.name, u.symbol)}
        if unit not in seconds or leads.dtype.kind not in "iuf":
            return None
        leads = np.rint(leads * float(seconds[unit])).astype("timedelta64[s]")
    return np.asarray(ds[reference].values.astype("datetime64[ns]")[:, None] + leads[None, :])


def _stacked(variable: xr.Variable, reference: str, lead: str, source: str) -> xr.Variable:
    """One dimension in place of two, lazily."""
    rest = [dim for dim in variable.dims if dim not in (reference, lead)]
    if not isinstance(variable._data, np.ndarray):
        variable = chunked(variable, reference, CHUNK_BYTES, source)
    ordered = variable.transpose(reference, lead, *rest)
    data = ordered.data.reshape((-1, *ordered.shape[2:]))
    return xr.Variable((reference, *rest), data, variable.attrs, variable.encoding)


def _between_values(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """Drop the frames at both ends in which no variable has a value."""
    fields = [variable for variable in ds.data_vars.values() if dim in variable.dims and variable.ndim > 2]
    n = ds.sizes[dim]

    def empty(step: int) -> bool:
        return all(bool(field.isel({dim: step}).isnull().all()) for field in fields)

    first = next((i for i in range(n) if not empty(i)), 0) if fields else 0
    last = next((i for i in range(n - 1, first, -1) if not empty(i)), n - 1) if fields else n - 1
    return ds.isel({dim: slice(first, last + 1)}) if (first, last) != (0, n - 1) else ds
