"""Bootstrap and Diebold-Mariano: the `scores` library, known distributions, dependence between windows."""

import numpy as np
import pytest
import xarray as xr
from scores.stats.statistical_tests import diebold_mariano as library_diebold_mariano

from stconv.errors import ConfigError
from stconv.verification import ScoreSums
from stconv.verification.scores.intervals import (
    block_length,
    bootstrap_counts,
    diebold_mariano,
    p_values,
    rmse_interval,
    skill_interval,
    window_stride,
)


def sums_of_errors(**errors):
    """One variable, one lead, one cell: a window for each error."""
    n = len(next(iter(errors.values())))
    truth = np.zeros((n, 1, 1, 1, 1))
    sums = ScoreSums(["x"], 1)
    sums.add(truth, {k: np.reshape(v, truth.shape) for k, v in errors.items()}, None, np.arange(n))
    return sums


@pytest.mark.parametrize("h", [1, 2, 5])
def test_diebold_mariano_equals_the_scores_library(h):
    d = np.convolve(np.random.default_rng(3).normal(0.1, 1, 200), np.ones(h), "valid")
    series = xr.DataArray(d[None], dims=("series", "time"), coords={"h": ("series", [h])})
    expected = library_diebold_mariano(series, "series", "h", method="HLN", statistic_distribution="t")
    statistic, p = diebold_mariano(d, h)
    assert statistic == pytest.approx(expected["dm_test_stat"].item())
    above = expected["confidence_gt_0"].item()
    assert p == pytest.approx(2 * min(above, 1 - above))


def test_diebold_mariano_by_hand():
    # d = 1, 2, 3, 4: mean 2.5, v = 1.25, h = 1: 2.5 / sqrt(1.25 / 4) * sqrt(3 / 4)
    statistic, p = diebold_mariano(np.array([1.0, 2, 3, 4]), 1)
    assert statistic == pytest.approx(3.872983)
    assert p == pytest.approx(0.030466, rel=1e-3)


def test_diebold_mariano_where_it_has_nothing_to_say():
    assert diebold_mariano(np.zeros(50), 1) == (0.0, 1.0)
    assert np.isnan(diebold_mariano(np.ones(6), 3)).all()
    assert diebold_mariano(np.full(50, -2.0), 3) == (-np.inf, 0.0)
    with pytest.raises(ConfigError, match="is 0; expected 1 or more"):
        diebold_mariano(np.ones(9), 0)


def test_a_sum_of_autocovariances_that_is_not_positive_falls_back_to_smaller_weights():
    d = np.tile([1.0, -1.0], 30) + 0.01
    statistic, p = diebold_mariano(d, 2)
    assert np.isfinite(statistic)
    assert 0 < p <= 1


def test_equal_forecasts_are_called_different_as_rarely_as_stated():
    # Overlapping windows: differences with a moving average of 4; 5 % of the tests may err.
    rng = np.random.default_rng(0)
    p = [diebold_mariano(np.convolve(rng.normal(size=403), np.ones(4), "valid"), 4)[1] for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.10


def test_block_is_as_long_as_windows_overlap():
    assert block_length(np.arange(574), span=10) == 10
    assert (
        block_length(np.arange(0, 574, 5), span=10) == 5
    )  # 115 windows: the cube root is larger than 10 / 5
    assert block_length(np.arange(0, 50, 10), span=10) == 2
    assert block_length(np.arange(8000), span=10) == 20
    assert window_stride(np.array([3])) == 1


def test_resamples_draw_whole_blocks_and_keep_their_size():
    counts = bootstrap_counts(100, 10, 50, seed=1)
    assert counts.shape == (50, 100)
    assert (counts.sum(1) == 100).all()
    # Ten blocks of ten neighbors on a circle: the count changes at most twenty times around it.
    changes = (counts != np.roll(counts, 1, axis=1)).sum(1)
    assert changes.max() <= 20
    assert (counts > 0).sum(1).min() > 30
    np.testing.assert_array_equal(counts, bootstrap_counts(100, 10, 50, seed=1))
    assert (counts != bootstrap_counts(100, 10, 50, seed=2)).any()


def test_interval_of_independent_errors_is_that_of_theory():
    # RMSE of n normal errors has standard deviation about sigma / sqrt(2 n).
    errors = np.random.default_rng(0).normal(0, 2, 2000)
    sums = sums_of_errors(model=errors)
    low, high = rmse_interval(sums, "model", bootstrap_counts(2000, 1, 1000, 0))
    assert (high - low).item() == pytest.approx(2 * 1.96 * 2 / np.sqrt(4000), rel=0.1)
    assert low < sums.rmse("model") < high


def test_blocks_widen_the_interval_of_persistent_errors():
    errors = np.repeat(np.random.default_rng(0).normal(size=100), 20)
    sums = sums_of_errors(model=errors)
    alone = np.ptp(rmse_interval(sums, "model", bootstrap_counts(2000, 1, 500, 0)), axis=0)
    blocks = np.ptp(rmse_interval(sums, "model", bootstrap_counts(2000, 40, 500, 0)), axis=0)
    assert (blocks > 3 * alone).all()


def test_skill_is_resampled_with_the_same_windows():
    # Both forecasts are bad in the same windows, so that the ratio is sure though neither error is.
    size = np.repeat(np.random.default_rng(0).exponential(1, 100), 5)
    sums = sums_of_errors(model=size, persistence=2 * size)
    low, high = skill_interval(sums, "model", "persistence", bootstrap_counts(500, 10, 200, 0))
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(0.5)


def test_p_values_are_those_of_the_squared_errors():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=300), 1.2 * rng.normal(size=300)
    sums = sums_of_errors(model=a, persistence=b)
    assert p_values(sums, "model", "persistence", 4).item() == pytest.approx(
        diebold_mariano(a**2 - b**2, 4)[1]
    )
