"""Gaps of the time axis, filled with frames without values: a window can then reach across."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stconv.datasets.source.time_axis import advance, missing_steps, time_step
from stconv.dims import TIME


def fill_gaps(ds: xr.Dataset, longest: int) -> xr.Dataset:
    """Put a frame without values at each time that is missing in a short gap.

    A missing frame is then nothing but missing values: imputed in the inputs, masked in loss and scores. A
    series that lacks a tenth of its steps here and there would otherwise lose most of its windows.

    Args:
        ds: Canonical dataset, in memory or on disk (dask).
        longest: Gaps of at most so many missing steps are filled; 0 fills none.

    Returns:
        The dataset with the times that were missing, NaN there; longer gaps stay as they are.

    Raises:
        TimeAxisError: The times have no common step.
    """
    times = ds[TIME].values
    if longest == 0 or times.size < 2:
        return ds
    step = time_step(times)
    missing = missing_steps(times, step)
    short = np.flatnonzero((missing > 0) & (missing <= longest))
    if not short.size:
        return ds
    places = [i + 1 for i in short for _ in range(missing[i])]
    put_in = [advance(times[i], step, k + 1) for i in short for k in range(missing[i])]
    return ds.reindex({TIME: np.insert(times, places, np.array(put_in, dtype=times.dtype))})
