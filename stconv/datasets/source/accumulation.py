"""Accumulations since the start of a forecast (rain of ERA5-Land), converted to amounts per step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from stconv.datasets.source.cycles import seconds_of_day
from stconv.datasets.source.restarts import Restarts, check_restarts
from stconv.datasets.source.time_axis import TimeStep, breaks, iso, time_step
from stconv.dims import TIME
from stconv.errors import TimeAxisError, VariableError


def deaccumulate(ds: xr.Dataset, restarts: Mapping[str, str], source: str) -> xr.Dataset:
    """Convert accumulations since the start of each forecast to amounts per step.

    x[t] = a[t] - a[t - 1], and a[t] where t is the first step after a start. A value at the time of a start
    belongs to the forecast before.

    Args:
        ds: Canonical dataset with a constant time step.
        restarts: Time from one start to the next by variable, and the first start of a day unless it is
            midnight: ``{"tp": "1d"}`` for ERA5-Land, ``{"tp": "12h from 06:00"}`` for ERA5.
        source: File or dataset, for messages.

    Returns:
        The dataset with amounts per step; NaN where the preceding step is missing.

    Raises:
        ConfigError: The text is not of this form, or the period does not divide a day.
        VariableError: There is no such variable, or its values do not restart at these times.
        TimeAxisError: The step does not divide the period, or does not meet the starts.
    """
    for name, text in restarts.items():
        if name not in ds.data_vars:
            raise VariableError(
                f"{source}: no variable '{name}' to convert from an accumulation; available: "
                f"{', '.join(map(str, ds.data_vars))}. Correct `accumulated` of the grid specification."
            )
        stated = Restarts.read(name, text)
        if ds.sizes[TIME] < 2:
            raise TimeAxisError(
                f"{source}: a single time gives no amount of '{name}' per step; expected at least 2. Give "
                "more files."
            )
        times = ds[TIME].values
        step = time_step(times, source)
        if step.kind != "fixed" or stated.period % step.seconds:
            raise TimeAxisError(
                f"{source}: '{name}' accumulates over {text}, which is not a multiple of the step "
                f"{step.label}. Correct `accumulated` of the grid specification."
            )
        if (int(seconds_of_day(times[:1])[0]) - stated.start) % step.seconds:
            raise TimeAxisError(
                f"{source}: '{name}' accumulates over {text}, and the first time, {iso(times[0])}, is not a "
                f"whole number of steps of {step.label} after a start. Correct `accumulated` of the grid "
                "specification."
            )
        check_restarts(ds[name], times, step, stated, source)
        ds = ds.assign({name: _per_step(ds[name], times, step, stated)})
    return ds


def _per_step(field: xr.DataArray, times: np.ndarray, step: TimeStep, restarts: Restarts) -> xr.DataArray:
    follows = np.ones(times.size, dtype=bool)
    follows[[0, *breaks(times, step)]] = False
    along = {TIME: field[TIME]}
    first = restarts.first_steps(times, step.seconds)
    is_first, has_before = (xr.DataArray(flags, along, (TIME,)) for flags in (first, follows))
    before = field.shift({TIME: 1})
    amount = xr.where(is_first, field, (field - before).where(has_before))
    return amount.transpose(*field.dims).astype(field.dtype).assign_attrs(field.attrs)
