"""A weekly cycle, as of traffic or consumption: whether data follow one, beyond chance."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import xarray as xr

from stconv.clock import DAY
from stconv.datasets.inspection.baselines import TRAIN_SHARE, departures
from stconv.datasets.preparation.harmonics import check_weekly, fit_harmonics, harmonic_values
from stconv.datasets.source.cycles import cycles
from stconv.datasets.source.time_axis import calendar_of, time_step
from stconv.dims import TIME
from stconv.errors import ConfigError

WORTH = 0.02
"""A weekly cycle is recommended if it lowers the error of the climatology by this fraction."""
FALSE_ALARMS = 0.005
"""Probability that a weekly cycle is recommended for noise, over all variables."""
OTHER_CYCLES = (5, 6, 8, 9)
"""Lengths of cycles that nothing follows, days."""


def weekly_cycle_pays(variable: xr.DataArray, n_tests: int = 1) -> float | None:
    """Fraction by which a weekly cycle lowers the error of the climatology.

    The climatology is fitted on the first 40 % of the steps and compared on the next 20 %; the test period is
    not used. The gain has to be significant, and above that of cycles of other lengths, which follow chance:
    noise gains 2 % from a week in every tenth short series.

    Args:
        variable: Canonical variable, (time, lat, lon) or (time, y, x), thinned if it is large.
        n_tests: Number of variables that are tested; their chances of a false alarm add up.

    Returns:
        The fraction; None if it is too small to matter, may be chance, or cannot be computed.
    """
    times = variable[TIME].values
    n_fit, n_train = int(0.4 * times.size), int(TRAIN_SHARE * times.size)
    if n_train < 3:
        return None
    step = time_step(times)
    try:
        check_weekly(step, calendar_of(times), n_fit)
    except ConfigError:
        return None
    values = departures(variable[:n_train]).copy()
    values[np.isinf(values)] = np.nan
    phases = cycles(times[:n_train])
    without = _squares(values, phases, n_fit, weekly=False)
    with_week = _squares(values, phases, n_fit)
    if not np.isfinite(without).any():
        return None
    before = float(np.sqrt(np.nanmean(without)))
    gain = 1 - float(np.sqrt(np.nanmean(with_week))) / before if before > 0 else 0.0
    if gain <= WORTH:
        return None
    per_day = max(round(DAY.seconds / step.approximate_seconds), 1)
    better = np.nan_to_num(without - with_week).mean(axis=(1, 2))
    if not is_above_zero(better, per_day, FALSE_ALARMS / n_tests):
        return None
    weeks = np.unwrap(phases[:, 2], period=1)
    for days in OTHER_CYCLES:
        phases[:, 2] = (7 / days * weeks) % 1
        if np.nanmean(_squares(values, phases, n_fit)) <= np.nanmean(with_week):
            return None
    return gain


def _squares(values: np.ndarray, phases: np.ndarray, n_fit: int, weekly: bool = True) -> np.ndarray:
    """Squared errors of a climatology after the first n_fit steps, on which it is fitted."""
    terms, coefficients = fit_harmonics(values[:n_fit, None], phases[:n_fit], weekly)
    expected = harmonic_values(phases[n_fit:], terms, coefficients)[:, 0]
    return np.asarray((values[n_fit:] - expected) ** 2)


def is_above_zero(values: np.ndarray, n_block: int, chance: float) -> bool:
    """Test whether the mean of a series is above zero: Student's t test, one-sided, on means of blocks.

    Args:
        values: The series.
        n_block: Number of values in a block, which are not independent of one another.
        chance: Probability of a false alarm.

    Source:
        The quantile of t to first order in 1 / n: Abramowitz and Stegun (1964), 26.7.5.
    """
    n = len(values) // n_block
    if n < 3:
        return False
    blocks = values[: n * n_block].reshape(n, n_block).mean(axis=1)
    z = NormalDist().inv_cdf(1 - chance)
    quantile = z + (z**3 + z) / (4 * (n - 1))
    return bool(blocks.mean() > quantile * blocks.std(ddof=1) / math.sqrt(n))
