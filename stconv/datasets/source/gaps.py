"""Filling of short gaps in the time axis with empty frames, so that windows can span them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stconv.datasets.source.time_axis import advance, missing_steps, time_step
from stconv.dims import TIME


def fill_gaps(ds: xr.Dataset, longest: int) -> xr.Dataset:
    """Insert an empty frame at each missing time of a short gap.

    An empty frame is imputed in the inputs and masked in loss and scores. A series that lacks a tenth of its
    steps, scattered, would otherwise lose most of its windows.

    Args:
        ds: Canonical dataset, in memory or on disk (dask).
        longest: Number of missing steps in the longest gap to fill; 0 fills none.

    Returns:
        The dataset with the missing times, NaN there; longer gaps are unchanged.

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
