"""Season, level and variability of a scored period beside those of the validation period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        validation period; `zero_share` and `usual_zero_share`, the shares of values that are 0. Each is a
        mean over cells that have values in both periods. By (period, month):
        `month_share`, the share of the steps of "train", "val" and "scored" in each calendar month.
    """
    ours, usual = (_moments(series, period) for period in (scored, validation))
    common = np.isfinite(ours.mean) & np.isfinite(usual.mean)
    n = series.n_targets
    found = {
        "level_shift": _mean(ours.mean - usual.mean, common),
        "deviation": np.sqrt(_mean(usual.variance, common)),
        "change": np.sqrt(_mean(ours.change, common)),
        "usual_change": np.sqrt(_mean(usual.change, common)),
        "zero_share": _mean(ours.zeros, common),
        "usual_zero_share": _mean(usual.zeros, common),
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


@dataclass(frozen=True)
class _Moments:
    """Mean, variance, mean square change per step and share of zeros of each cell, (channel, lat, lon)."""

    mean: np.ndarray
    variance: np.ndarray
    change: np.ndarray
    zeros: np.ndarray


def _moments(series: Series, period: range) -> _Moments:
    """Moments of the cells in a period, NaN where no value is known."""
    n, total, squares, zeros, n_changes, changes = np.zeros((6, *series.values.shape[1:]))
    for step in evenly_spaced(period, MOST_STEPS):
        now = np.asarray(series.values[step], np.float64)
        n += np.isfinite(now)
        total += np.nan_to_num(now)
        squares += np.nan_to_num(now) ** 2
        zeros += now == 0
        if step > period.start and step not in series.breaks:
            change = now - np.asarray(series.values[step - 1])
            n_changes += np.isfinite(change)
            changes += np.nan_to_num(change) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        return _Moments(mean, np.maximum(squares / n - mean**2, 0), changes / n_changes, zeros / n)


def _mean(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mean over the given cells whose value is finite, by channel; NaN if there is none."""
    known = cells & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum((1, 2)) / known.sum((1, 2))
