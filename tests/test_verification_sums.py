"""Sums and scores: hand-worked values, the `scores` library, and tricks that must not raise a score."""

import numpy as np
import pytest
import torch
import xarray as xr
from scores.continuous import additive_bias, mae, rmse

from stconv.errors import ConfigError, DataError, MissingValuesError, ShapeError
from stconv.verification import ScoreSums

torch.set_num_threads(1)
LEADS, LAT, LON = 3, 5, 4
CELL_WEIGHT = np.cos(np.deg2rad(np.linspace(-60, 60, LAT)))[:, None] * np.ones((1, LON))


def made_case(n=40, n_variables=2, seed=0, missing=0.2):
    """Truth with holes, and three forecasts: (window, variable, lead, lat, lon)."""
    rng = np.random.default_rng(seed)
    truth = 280 + 10 * rng.normal(size=(n, n_variables, LEADS, LAT, LON))
    forecasts = {
        "model": truth + rng.normal(size=truth.shape) + 0.3,
        "persistence": truth + 2 * rng.normal(size=truth.shape),
        "climatology": 280 + np.zeros(truth.shape),
    }
    truth[rng.random(truth.shape) < missing] = np.nan
    return truth, forecasts


def scored(truth, forecasts, batches=1, order=None, weight=CELL_WEIGHT, variables=("t", "q")):
    sums = ScoreSums(variables[: truth.shape[1]], truth.shape[2], {"t": "K", "q": "g kg-1"})
    order = np.arange(len(truth)) if order is None else order
    for part in np.array_split(order, batches):
        sums.add(truth[part], {k: f[part] for k, f in forecasts.items()}, weight, part)
    return sums


def test_hand_worked_values():
    # Two cells of weight 1 and 3, one window, one lead. Errors 1 and -2; climatology 0.
    truth = np.array([2.0, 4.0]).reshape(1, 1, 1, 1, 2)
    model = np.array([3.0, 2.0]).reshape(truth.shape)
    zero = np.zeros(truth.shape)
    sums = ScoreSums(["x"], 1)
    sums.add(truth, {"model": model, "climatology": zero}, np.array([[1.0, 3.0]]), [7])
    assert sums.mse("model") == pytest.approx((1 * 1 + 3 * 4) / 4)
    assert sums.mse("model", "cells") == pytest.approx((1 + 4) / 2)
    assert sums.mae("model") == pytest.approx((1 * 1 + 3 * 2) / 4)
    assert sums.bias("model") == pytest.approx((1 * 1 - 3 * 2) / 4)
    # sum w f o = 6 + 24, sum w f f = 9 + 12, sum w o o = 4 + 48
    assert sums.acc("model") == pytest.approx(30 / np.sqrt(21 * 52))
    assert sums.skill("model", "climatology") == pytest.approx(1 - np.sqrt(13 / 52))
    assert np.isnan(sums.acc("climatology")).all()
    assert sums.reference_index.tolist() == [7]


def test_pooled_means_sums_first_and_ratios_last():
    # Window 0 has one valid cell with error 3, window 1 two with error 0: 9/3, not the mean of 9 and 0.
    truth = np.array([[[0.0, np.nan]], [[0.0, 0.0]]]).reshape(2, 1, 1, 1, 2)
    model = np.array([3.0, 5.0, 0.0, 0.0]).reshape(truth.shape)
    sums = ScoreSums(["x"], 1)
    sums.add(truth, {"model": model}, None, [0, 1])
    assert sums.rmse("model") == pytest.approx(np.sqrt(3))
    assert sums.pooled_rmse("model") == pytest.approx(np.sqrt(3))


@pytest.mark.parametrize("contender", ["model", "persistence", "climatology"])
def test_equals_the_scores_library_on_random_masked_fields(contender):
    truth, forecasts = made_case()
    dims = ("window", "variable", "lead", "lat", "lon")
    observed, forecast = xr.DataArray(truth, dims=dims), xr.DataArray(forecasts[contender], dims=dims)
    weights = xr.DataArray(CELL_WEIGHT, dims=("lat", "lon"))
    over = ("window", "lat", "lon")
    sums = scored(truth, forecasts)
    for weighting, w in [("area", weights), ("cells", None)]:
        expected = {
            "rmse": rmse(forecast, observed, reduce_dims=over, weights=w),
            "mae": mae(forecast, observed, reduce_dims=over, weights=w),
            "bias": additive_bias(forecast, observed, reduce_dims=over, weights=w),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(
                getattr(sums, name)(contender, weighting), value, rtol=1e-9, err_msg=name
            )
        pooled = rmse(forecast, observed, reduce_dims=(*over, "lead"), weights=w)
        np.testing.assert_allclose(sums.pooled_rmse(contender, weighting), pooled, rtol=1e-9)


def test_anomaly_correlation_equals_a_plain_computation():
    truth, forecasts = made_case()
    valid = np.isfinite(truth)
    f, o = forecasts["model"] - 280, np.where(valid, truth - 280, 0)
    w = valid * CELL_WEIGHT
    over = (0, 3, 4)
    expected = (w * f * o).sum(over) / np.sqrt((w * f * f).sum(over) * (w * o * o).sum(over))
    np.testing.assert_allclose(scored(truth, forecasts).acc("model"), expected, rtol=1e-9)


def test_order_and_batches_do_not_matter():
    truth, forecasts = made_case()
    once = scored(truth, forecasts)
    shuffled = scored(truth, forecasts, batches=7, order=np.random.default_rng(1).permutation(len(truth)))
    xr.testing.assert_allclose(once.to_dataset(), shuffled.to_dataset(), rtol=1e-12)
    assert shuffled.reference_index.tolist() == list(range(len(truth)))


def test_merging_ranks_equals_one_pass_and_padding_does_not_count_twice():
    truth, forecasts = made_case()
    even, odd = np.arange(0, 40, 2), np.r_[np.arange(1, 40, 2), 0, 1]  # as a sampler that pads the last rank
    merged = scored(truth, forecasts, order=even).merge(
        scored(truth, forecasts, order=odd), ScoreSums("tq", LEADS)
    )
    xr.testing.assert_allclose(merged.to_dataset(), scored(truth, forecasts).to_dataset(), rtol=1e-12)


def test_selected_windows_are_scored_alone():
    truth, forecasts = made_case()
    mask = np.arange(40) < 10
    np.testing.assert_allclose(
        scored(truth, forecasts).select(mask).rmse("model"),
        scored(truth[:10], {k: f[:10] for k, f in forecasts.items()}).rmse("model"),
    )


def test_survives_a_dataset():
    truth, forecasts = made_case()
    sums = scored(truth, forecasts)
    again = ScoreSums.from_dataset(sums.to_dataset())
    assert (again.variables, again.units, again.contenders) == (sums.variables, sums.units, sums.contenders)
    np.testing.assert_array_equal(again.rmse("persistence"), sums.rmse("persistence"))
    assert again.n_windows == 40


def test_float32_tensors_are_summed_in_double_precision():
    error = torch.ones(1, 1, 1, 10, 10)
    error[..., 0, 0], error[..., -1, -1] = (
        2.0**24,
        -(2.0**24),
    )  # next to which 1 is nothing in single precision
    sums = ScoreSums(["x"], 1)
    sums.add(torch.zeros_like(error), {"model": error}, torch.ones(10, 10), torch.tensor([0]))
    assert sums.bias("model").item() == pytest.approx(98 / 100)


def test_persistence_has_no_skill_against_itself():
    truth, forecasts = made_case()
    sums = scored(truth, {"model": forecasts["persistence"], **{"persistence": forecasts["persistence"]}})
    assert (sums.skill("model", "persistence") == 0).all()


def test_a_missing_frame_of_persistence_leaves_its_cells_out_for_all():
    truth, forecasts = made_case(missing=0)
    forecasts["persistence"][:, :, :, 0] = np.nan
    forecasts["model"][:, :, :, 0] += 1000
    sums = scored(truth, forecasts)
    inner = scored(
        truth[..., 1:, :], {k: f[..., 1:, :] for k, f in forecasts.items()}, weight=CELL_WEIGHT[1:]
    )
    np.testing.assert_allclose(sums.rmse("model"), inner.rmse("model"))
    assert sums.left_out_share() == pytest.approx(1 / LAT)
    assert (inner.left_out_share() == 0).all()


def test_cells_that_can_never_be_forecast_are_not_scored():
    truth, forecasts = made_case(missing=0)
    forecasts["model"][:, 0, :, 2, 1] = np.nan  # land of the first variable only
    sums = scored(truth, forecasts)
    assert (sums.of("weight", None, "cells")[:, 0] == LAT * LON - 1).all()
    assert (sums.of("weight", None, "cells")[:, 1] == LAT * LON).all()


def test_a_forecast_missing_in_one_window_is_an_error():
    truth, forecasts = made_case(missing=0)
    forecasts["model"][3, 1, 2, 4, 0] = np.nan
    with pytest.raises(
        MissingValuesError, match=r"1 of 4800 .* window 3 .* channel 1, lead 3, cell \[4, 0\]"
    ):
        scored(truth, forecasts)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_forecast_is_an_error(value):
    truth, forecasts = made_case(missing=0)
    forecasts["model"][:] = value
    with pytest.raises(MissingValuesError, match="may have diverged"):
        scored(truth, forecasts)


def test_where_a_forecast_is_possible_can_be_stated():
    truth, forecasts = made_case(missing=0)
    forecasts["model"][:, :, :, 2, 1] = np.nan
    possible = np.ones((LAT, LON), bool)
    sums = ScoreSums(("t", "q"), LEADS)
    with pytest.raises(MissingValuesError, match=r"cell \[2, 1\]"):
        sums.add(truth, forecasts, None, np.arange(40), forecastable=possible)
    possible[2, 1] = False
    sums.add(truth, forecasts, None, np.arange(40), forecastable=np.stack([possible] * 2))
    assert sums.n_windows == 40


def test_wrong_shapes_are_named():
    truth, forecasts = made_case()
    with pytest.raises(
        ShapeError, match=r"'persistence' is \(40, 2, 3, 5, 3\), the truth is \(40, 2, 3, 5, 4\)"
    ):
        scored(truth, forecasts | {"persistence": forecasts["persistence"][..., :3]})
    with pytest.raises(ShapeError, match=r"starting with \(40, 2, 9\)"):
        ScoreSums(("t", "q"), 9).add(truth, forecasts, None, np.arange(40))


def test_other_contenders_later_are_refused():
    truth, forecasts = made_case()
    sums = scored(truth, forecasts)
    with pytest.raises(ConfigError, match="differ from those of earlier windows"):
        sums.add(truth, {"model": forecasts["model"]}, None, np.arange(40))
    with pytest.raises(ConfigError, match="cannot be merged"):
        sums.merge(scored(truth, {"model": forecasts["model"]}))
    with pytest.raises(ConfigError, match="at 9 leads cannot be merged with those of"):
        sums.merge(ScoreSums(("t", "q"), 9))


def test_questions_without_an_answer_are_refused():
    with pytest.raises(DataError, match=r"No window .* was scored"):
        ScoreSums(["t"], 2).rmse("model")
    truth, forecasts = made_case()
    with pytest.raises(ConfigError, match="Unknown contender 'rival'"):
        scored(truth, forecasts).rmse("rival")
    with pytest.raises(ConfigError, match="Unknown weighting 'volume'"):
        scored(truth, forecasts).rmse("model", "volume")
    with pytest.raises(ConfigError, match="no forecast to score"):
        scored(truth, {})
    with pytest.raises(ConfigError, match="1 units for 2 variables"):
        ScoreSums(("t", "q"), 2, ["K"])
