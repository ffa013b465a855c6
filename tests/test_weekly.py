"""A weekly cycle is recommended where data follow one, and not for noise."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import ttest_1samp

from stconv.datasets.inspection.weekly import is_above_zero, weekly_cycle_pays


def series(values):
    """Daily values of a grid, (time, lat, lon)."""
    times = np.datetime64("2001-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "D")
    axes = {"time": times, "lat": np.arange(values.shape[1]) * 1.0, "lon": np.arange(values.shape[2]) * 1.0}
    return xr.DataArray(values.astype("float32"), axes, ("time", "lat", "lon"))


def weekends(n, length=7):
    """Two quiet days in each `length`."""
    return np.where(np.arange(n) % length >= length - 2, -1.0, 0.4)[:, None, None]


def test_noise_has_no_weekly_cycle():
    """By chance, a weekly cycle gains 2 % in every tenth series of this length."""
    generator = np.random.default_rng(0)
    noise = [generator.normal(size=(n, 1, 1)) + np.zeros((1, 2, 2)) for n in (75, 120) for _ in range(40)]
    assert sum(weekly_cycle_pays(series(values)) is not None for values in noise) <= 1


@pytest.mark.parametrize("n", [100, 400])
def test_quiet_weekends_are_found_in_noise(n):
    noise = 0.3 * np.random.default_rng(1).normal(size=(n, 3, 4))
    gain = weekly_cycle_pays(series(weekends(n) + noise))
    expected = 1 - 0.3 / np.sqrt(0.3**2 + weekends(700).var())  # what is left is the noise
    assert gain == pytest.approx(expected, abs=0.05)
    assert weekly_cycle_pays(series(weekends(n, 8) + noise)) is None


def test_the_test_is_that_of_student():
    generator = np.random.default_rng(2)
    for n in (8, 20, 60):
        for _ in range(100):
            blocks = generator.normal(0.5, 1, size=n)
            values = np.repeat(blocks, 3)
            p = ttest_1samp(blocks, 0, alternative="greater").pvalue
            if not 0.003 < p < 0.008:  # the quantile is approximate
                assert is_above_zero(values, 3, 0.005) == (p < 0.005)
    assert not is_above_zero(np.ones(5), 3, 0.005)
