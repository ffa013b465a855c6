"""The detection of values far from zero whose small variation float32 would round away."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stconv.dims import TIME

FINEST = 1e-3
"""Fraction of the spread that rounding may take; float32 suffices where its resolution is finer."""
LOOKED_AT = 5
"""Number of steps that the spread is estimated from."""


def needs_float64(variable: xr.Variable) -> bool:
    """Whether the resolution of float32 is coarse compared with the variation of the values.

    A value of 6.371e6 is rounded by up to 0.25 in float32. The variation is estimated from some steps of the
    whole period, as the smaller one of that in space and that in time.

    Args:
        variable: Canonical values, float64 where the file resolves more than float32, (time, lat, lon).
    """
    if variable.dtype != np.float64 or not variable.size:
        return False
    steps = steps_looked_at(variable.sizes[TIME])
    values = np.stack([np.asarray(variable.isel({TIME: int(step)}).values) for step in steps])
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        return False
    largest = float(np.nanmax(np.abs(values)))
    if largest > np.finfo(np.float32).max:
        return False  # sentinels, reported elsewhere
    centered = values - np.nanmean(values)
    spreads = [float(np.nanstd(centered))]
    known = np.isfinite(centered).all(axis=0)
    if len(steps) > 1 and known.any():
        spreads.append(float(np.median(centered[:, known].std(axis=0))))
    spread = min((spread for spread in spreads if spread > 0), default=0.0)
    return bool(np.spacing(np.float32(largest)) > FINEST * spread > 0)


def steps_looked_at(n: int) -> np.ndarray:
    """Steps for the estimate of the spread: the first, the last and some between."""
    return np.unique(np.linspace(0, n - 1, LOOKED_AT).astype(int))


def center_of(array: xr.DataArray) -> float:
    """Integer to subtract in float64 before the conversion to float32; 0 where float32 suffices.

    Args:
        array: Canonical values, as for `needs_float64`.
    """
    if not needs_float64(array.variable):
        return 0.0
    for step in range(array.sizes[TIME]):
        frame = np.asarray(array.isel({TIME: step}).values)
        valid = frame[np.isfinite(frame)]
        if valid.size:
            return float(np.rint(valid.mean()))
    return 0.0
