"""Probabilistic scores against the library `scores`, numerical integrals and hand-worked values."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scores.probability import brier_score, crps_for_ensemble, rank_histogram

from stconv.errors import ConfigError, DataError, ShapeError
from stconv.verification.scores.calibration import BINS, Calibration
from stconv.verification.scores.probability import (
    brier,
    crps_ensemble,
    inside,
    interval_score,
    rank_shares,
)

SHAPE = (3, 2, 4, 5, 6)
DIMS = ("window", "variable", "lead", "lat", "lon")


def fields(seed=0, n_members=7, missing=0.2, decimals=None):
    """Members and truth on a random masked grid; rounded ones have ties."""
    rng = np.random.default_rng(seed)
    members, truth = rng.normal(size=(n_members, *SHAPE)), rng.normal(size=SHAPE)
    if decimals is not None:
        members, truth = members.round(decimals), truth.round(decimals)
    truth[rng.random(SHAPE) < missing] = np.nan
    return members, truth


def as_xarray(members, truth):
    return xr.DataArray(members, dims=("member", *DIMS)), xr.DataArray(truth, dims=DIMS)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), n_members=st.integers(2, 6), fair=st.booleans())
def test_crps_of_an_ensemble_is_that_of_the_library(seed, n_members, fair):
    members, truth = fields(seed, n_members, decimals=1)
    forecast, observed = as_xarray(members, truth)
    expected = crps_for_ensemble(
        forecast, observed, "member", method="fair" if fair else "ecdf", preserve_dims="all"
    )
    np.testing.assert_allclose(crps_ensemble(members, truth, fair), expected, atol=1e-12)


def test_crps_of_one_member_is_the_absolute_error():
    members, truth = fields(n_members=1)
    np.testing.assert_allclose(crps_ensemble(members, truth), np.abs(members[0] - truth))


def test_brier_score_is_that_of_the_library():
    rng = np.random.default_rng(1)
    chance, event = rng.random(SHAPE), (rng.random(SHAPE) < 0.3).astype(float)
    event[rng.random(SHAPE) < 0.2] = np.nan
    expected = brier_score(*(xr.DataArray(x, dims=DIMS) for x in (chance, event)), preserve_dims="all")
    np.testing.assert_allclose(brier(chance, event), expected)


def test_a_band_holds_its_bounds_and_nothing_unknown():
    lower, upper = np.zeros(5), np.ones(5)
    upper[4] = np.nan
    found = inside(lower, upper, np.array([0.0, 1.0, 1.1, np.nan, 0.5]))
    np.testing.assert_array_equal(found, [1, 1, 0, np.nan, np.nan])


def test_the_interval_score_by_hand():
    # Width 2; 0.5 below at level 0.8 costs 2 / 0.2 * 0.5 = 5 more.
    found = interval_score(np.zeros(2), np.full(2, 2.0), np.array([-0.5, 1.0]), 0.8)
    np.testing.assert_allclose(found, [7.0, 2.0])


@pytest.mark.parametrize("decimals", [None, 0])
def test_the_rank_histogram_is_that_of_the_library(decimals):
    members, truth = fields(3, n_members=4, decimals=decimals)
    forecast, observed = as_xarray(members, truth)
    expected = rank_histogram(forecast, observed, "member", preserve_dims=["variable", "lead"])
    shares = np.nanmean(rank_shares(members, truth), axis=(1, 4, 5))
    np.testing.assert_allclose(np.moveaxis(shares, 0, -1), expected)
    calibration = Calibration(["a", "b"], 4)
    for half in (slice(0, 1), slice(1, 3)):
        calibration.add_members(truth[half], members[:, half])
    np.testing.assert_allclose(calibration.to_dataset()["rank_frequency"], expected)


def test_pooled_scores_are_those_of_the_library_with_weights():
    members, truth = fields(4)
    cell_weight = np.random.default_rng(0).random(SHAPE[-2:])
    forecast, observed = as_xarray(members, truth)
    kept = ["variable", "lead"]
    weights = xr.DataArray(cell_weight, dims=("lat", "lon"))
    expected = crps_for_ensemble(forecast, observed, "member", preserve_dims=kept, weights=weights)
    parts = [Calibration(["a", "b"], 4) for _ in range(3)]
    for i, part in enumerate(parts):
        part.add_members(truth[[i]], members[:, [i]], cell_weight)
    ds = parts[0].merge(*parts[1:]).to_dataset()
    np.testing.assert_allclose(ds["crps"], expected)
    error = np.where(np.isnan(truth), np.nan, members.mean(0) - truth)
    weight = np.where(np.isnan(truth), 0, cell_weight)
    rmse = np.sqrt(np.nansum(weight * error**2, (0, 3, 4)) / weight.sum((0, 3, 4)))
    np.testing.assert_allclose(ds["member_rmse"], rmse)


def test_coverage_of_true_bands_is_their_level():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(60, 1, 2, 20, 20))
    truth[:, :, 1] *= 2  # bands that are right at lead 1 and too narrow at lead 2
    calibration = Calibration(["t"], 2)
    for level in (0.8, 0.95):
        half = np.full(truth.shape, stats.norm.ppf(0.5 + level / 2))
        calibration.add_band(truth, -half, half, level)
    ds = calibration.to_dataset()
    assert list(ds["level"].values) == [0.8, 0.95]
    np.testing.assert_allclose(ds["coverage"].sel(lead=1)[0], [0.8, 0.95], atol=0.01)
    narrow = 1 - 2 * stats.norm.sf(stats.norm.ppf([0.9, 0.975]) / 2)
    np.testing.assert_allclose(ds["coverage"].sel(lead=2)[0], narrow, atol=0.01)
    np.testing.assert_allclose(ds["width"].sel(lead=1)[0], 2 * stats.norm.ppf([0.9, 0.975]))


def test_reliability_counts_by_bin():
    rng = np.random.default_rng(6)
    chance = rng.random((50, 1, 1, 20, 20))
    chance[0, 0, 0, 0, :2] = [0.0, 1.0]  # ends belong to the outer bins
    event = (rng.random(chance.shape) < chance**2).astype(float)  # overconfident forecasts
    event[1] = np.nan
    calibration = Calibration(["rain"], 1)
    calibration.add_probability(event, chance)
    ds = calibration.to_dataset()
    known = np.isfinite(event)
    assert ds["bin_count"].sum() == known.sum()
    for i in range(BINS):
        chosen = known & (chance >= i / BINS) & ((chance < (i + 1) / BINS) | (i == BINS - 1))
        assert ds["bin_count"][0, 0, i] == chosen.sum()
        assert float(ds["bin_probability"][0, 0, i]) == pytest.approx(chance[chosen].mean())
        assert float(ds["bin_frequency"][0, 0, i]) == pytest.approx(event[chosen].mean())
    assert float(ds["event_frequency"][0, 0]) == pytest.approx(np.nanmean(event))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: brier(np.array([1.2]), np.array([1.0])), ConfigError, "1 probabilities are not in [0, 1]"),
        (lambda: brier(np.array([0.5]), np.array([2.0])), ConfigError, "neither 0 nor 1"),
        (lambda: brier(np.zeros(2), np.zeros(3)), ShapeError, "shapes (2,), (3,)"),
        (lambda: crps_ensemble(np.zeros((1, 2)), np.zeros(2), fair=True), ConfigError, "2 members or more"),
        (lambda: crps_ensemble(np.zeros((3, 2)), np.zeros(3)), ShapeError, "the shape of the truth, (3,)"),
        (lambda: interval_score(np.zeros(1), np.zeros(1), np.zeros(1), 80), ConfigError, "such as 0.8"),
        (lambda: Calibration(["t"], 2).to_dataset(), DataError, "No probability, band or ensemble"),
        (
            lambda: Calibration(["t"], 2).add_band(*[np.zeros((1, 1, 3, 1, 1))] * 3, level=0.8),
            ShapeError,
            "1 channels and 2 leads",
        ),
        (lambda: Calibration(["t"], 2).merge(Calibration(["u"], 2)), ConfigError, "is not that of"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, message):
    with pytest.raises(error) as found:
        call()
    assert message in str(found.value)


def test_scores_of_single_precision_stay_so():
    assert crps_ensemble(torch.ones(2, 3), torch.ones(3)).dtype == torch.float32
