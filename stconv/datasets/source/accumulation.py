"""Accumulations since the start of a forecast (rain of ERA5-Land), converted to amounts per step."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import xarray as xr

from stconv.clock import DAY, TIME_UNITS
from stconv.datasets.source.cycles import seconds_of_day
from stconv.datasets.source.time_axis import TimeStep, breaks, time_step
from stconv.dims import TIME
from stconv.errors import ConfigError, TimeAxisError, VariableError

_PERIOD = re.compile(r"(\d+)\s*(min|h|d)")


def deaccumulate(ds: xr.Dataset, periods: Mapping[str, str], source: str) -> xr.Dataset:
    """Convert accumulations since the start of each forecast to amounts per step.

    x[t] = a[t] - a[t - 1], and a[t] where t is the first step after a start. Forecasts start at midnight and
    every period after it; a value at the time of a start belongs to the forecast before.

    Args:
        ds: Canonical dataset with a constant time step.
        periods: Time from one start to the next by variable: ``{"tp": "1d"}`` for ERA5-Land.
        source: File or dataset, for messages.

    Returns:
        The dataset with amounts per step; NaN where the preceding step is missing.

    Raises:
        ConfigError: A period is not a length of time, or does not divide a day.
        VariableError: There is no such variable.
        TimeAxisError: The step does not divide the period.
    """
    for name, text in periods.items():
        if name not in ds.data_vars:
            raise VariableError(
                f"{source}: no variable '{name}' to convert from an accumulation; available: "
                f"{', '.join(map(str, ds.data_vars))}. Correct `accumulated` of the grid specification."
            )
        period = _period_seconds(name, text)
        if ds.sizes[TIME] < 2:
            raise TimeAxisError(
                f"{source}: a single time gives no amount of '{name}' per step; expected at least 2. Give "
                "more files."
            )
        times = ds[TIME].values
        step = time_step(times, source)
        if step.kind != "fixed" or period % step.seconds:
            raise TimeAxisError(
                f"{source}: '{name}' accumulates over {text}, which is not a multiple of the step "
                f"{step.label}. Correct `accumulated` of the grid specification."
            )
        ds = ds.assign({name: _per_step(ds[name], times, step, period)})
    return ds


def _per_step(field: xr.DataArray, times: np.ndarray, step: TimeStep, period: int) -> xr.DataArray:
    first = (seconds_of_day(times).astype(np.int64) - step.seconds) % period == 0
    follows = np.ones(times.size, dtype=bool)
    follows[[0, *breaks(times, step)]] = False
    along = {TIME: field[TIME]}
    is_first, has_before = (xr.DataArray(flags, along, (TIME,)) for flags in (first, follows))
    before = field.shift({TIME: 1})
    amount = xr.where(is_first, field, (field - before).where(has_before))
    return amount.transpose(*field.dims).astype(field.dtype).assign_attrs(field.attrs)


def _period_seconds(name: str, text: str) -> int:
    match = _PERIOD.fullmatch(text)
    units = {unit.symbol: unit.seconds for unit in TIME_UNITS}
    seconds = int(match[1]) * units[match[2]] if match else 0
    if seconds < 1 or DAY.seconds % seconds:
        raise ConfigError(
            f"accumulated: {{{name}: {text!r}}} is not understood; expected the time from one forecast "
            "start to the next, a fraction of a day such as 1d, 12h or 6h."
        )
    return seconds
