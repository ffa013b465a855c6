"""Season, level and variability of a scored period beside those of the validation period."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from stconv.datasets.series.store import Series
from stconv.spacing import evenly_spaced

MOST_STEPS = 512
"""Number of evenly spaced steps of a period that its level and variability are taken from."""
MOST_TIMES = 4096
"""Number of evenly spaced steps of a period that its months are taken from."""


def likeness(
    series: Series, names: Sequence[str], train: range, validation: range, scored: range
) -> xr.Dataset:
    """Compare a scored period with the one on which bands were calibrated, to say why they may not hold.

    Args:
        series: Series in physical units.
        names: Names of the targets.
        train: Steps of the training period.
        validation: Steps of the validation period.
        scored: Steps of the scored period.

    Returns:
        By variable, in its units: `level_shift`, the mean of the scored period minus that of the validation
        period; `deviation`, the standard deviation in time in the validation period; `change` and
        `usual_change`, the root mean square change from one step to the next in the scored period and in the
        validation period. Each is a mean over cells that have values in both periods. By (period, month):
        `month_share`, the share of the steps of "train", "val" and "scored" in each calendar month.
    """
    ours, usual = (_moments(series, period) for period in (scored, validation))
    common = np.isfinite(ours[0]) & np.isfinite(usual[0])
    n = series.n_targets
    found = {
        "level_shift": _mean(ours[0] - usual[0], common),
        "deviation": np.sqrt(_mean(usual[1], common)),
        "change": np.sqrt(_mean(ours[2], common)),
        "usual_change": np.sqrt(_mean(usual[2], common)),
    }
    periods = {"train": train, "val": validation, "scored": scored}
    months = [_month_shares(series, period) for period in periods.values()]
    return xr.Dataset(
        {key: ("variable", values[:n]) for key, values in found.items()}
        | {"month_share": (("period", "month"), months)},
        coords={"variable": list(names), "period": list(periods), "month": np.arange(1, 13)},
    )


def _month_shares(series: Series, period: range) -> np.ndarray:
    months = [int(str(series.times[step])[5:7]) for step in evenly_spaced(period, MOST_TIMES)]
    return np.bincount(months, minlength=13)[1:] / max(1, len(months))


def _moments(series: Series, period: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and mean square change per step of each cell: (channel, lat, lon), NaN where unknown."""
    total, squares, changes = np.zeros((3, *series.values.shape[1:]))
    n, n_changes = np.zeros((2, *series.values.shape[1:]))
    for step in evenly_spaced(period, MOST_STEPS):
        now = np.asarray(series.values[step], np.float64)
        known = np.isfinite(now)
        n += known
        total += np.where(known, now, 0)
        squares += np.where(known, now, 0) ** 2
        if step > period.start and step not in series.breaks:
            change = now - np.asarray(series.values[step - 1])
            n_changes += np.isfinite(change)
            changes += np.nan_to_num(change) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        return mean, np.maximum(squares / n - mean**2, 0), changes / n_changes


def _mean(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mean over the given cells whose value is finite, by channel; NaN if there is none."""
    known = cells & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum((1, 2)) / known.sum((1, 2))
