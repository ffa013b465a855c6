"""Values brought to other steps such that none is used before it is known."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stconv.datasets.source.further import FurtherSource
from stconv.datasets.source.step_text import step_length
from stconv.dims import TIME
from stconv.errors import TimeAxisError

_INTERVALS = ("mean", "sum", "maximum", "minimum")
"""Methods of CF that combine values of an interval."""


def known_by(ds: xr.Dataset, times: np.ndarray, source: FurtherSource) -> xr.Dataset:
    """Give fields the steps of a series.

    A value is known from its stamp and the delay on. At each step, the values that became known since the
    step before are combined; those of a longer step are carried on, for at most one step of their own source.

    Args:
        ds: Canonical fields.
        times: Steps of the series, increasing.
        source: Settings.

    Returns:
        The fields at these steps, NaN where nothing is known.

    Raises:
        TimeAxisError: The calendars differ, or the values belong to intervals and no delay is stated.
    """
    own = ds[TIME].values
    if own.dtype.kind != "M" or times.dtype.kind != "M":
        if not np.array_equal(own, times):
            raise TimeAxisError(
                f"{source.title} and the series have calendars that cannot be compared; expected equal "
                "times, or dates of the standard calendar in both."
            )
        return ds
    delay = step_length(source.delay) or np.timedelta64(0, "ns")
    own_step, step = _step(own), _step(times)
    if source.delay is None and not (own.size == times.size and np.array_equal(own, times)):
        _refuse_intervals(ds, source)
    known = own.astype("datetime64[ns]") + delay
    newest = np.searchsorted(known, times, side="right") - 1
    if own_step >= step:
        return _at(ds, newest, (newest >= 0) & (times - known[newest] < own_step), times)
    n = max(1, int(np.ceil(step / own_step)))
    parts = []
    for back in range(1 if source.combine == "last" else n):
        at = newest - back
        parts.append(_at(ds, at, (at >= 0) & (times - known[at] < step), times))
    if len(parts) == 1:
        return parts[0]
    stacked = xr.concat(parts, "part", coords="minimal", compat="override")
    if source.combine == "sum":
        return stacked.sum("part", skipna=True, min_count=n)
    combined: xr.Dataset = getattr(stacked, source.combine)("part", skipna=True)
    return combined


def _at(ds: xr.Dataset, at: np.ndarray, valid: np.ndarray, times: np.ndarray) -> xr.Dataset:
    chosen = ds.isel({TIME: np.clip(at, 0, None)}).assign_coords({TIME: times})
    return chosen.where(xr.DataArray(valid, dims=TIME))


def _step(times: np.ndarray) -> np.timedelta64:
    """Usual distance of steps."""
    return np.median(np.diff(times)) if times.size > 1 else np.timedelta64(2**62, "ns")


def _refuse_intervals(ds: xr.Dataset, source: FurtherSource) -> None:
    for name, variable in ds.data_vars.items():
        methods = str(variable.attrs.get("cell_methods", ""))
        found = next((method for method in _INTERVALS if f"time: {method}" in methods), None)
        if found is not None:
            raise TimeAxisError(
                f"'{name}' of {source.title} holds a {found} over an interval (cell_methods '{methods}'), "
                "and it is not stated when that is known; its stamp may be the beginning. State `delay`: the "
                "time from the stamp to the end of the interval, for example 1d; 0h if the stamp is the end."
            )
