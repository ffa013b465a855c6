"""Bands that adapt to the truths that came in, and to nothing that was not known yet."""

import numpy as np
import pytest
import torch

from stconv.errors import ShapeError
from stconv.uncertainty.adaptive import LEAST, Adaptation, outside_shares
from stconv.uncertainty.bands import widened


def test_one_update_by_hand():
    bands = Adaptation(1, 2)
    bands.observe(10, np.array([[[0.5, 0.4]], [[0.25, 0.05]]]))  # (80 and 95 %, target, lead)
    assert (bands.at(10) == 0).all(), "no truth is known at the reference time itself"
    first = bands.at(11)  # the truth of the first lead; its rate is 1 / 4
    np.testing.assert_allclose(first[:, 0, 0], [0.25 * (0.5 - 0.2), 0.25 * (0.25 - 0.05)])
    assert (first[..., 1] == 0).all()
    second = bands.at(12)  # that of the second; its rate is 1 / 6
    np.testing.assert_allclose(second[:, 0, 1], [(0.4 - 0.2) / 6, 0], atol=1e-12)
    np.testing.assert_array_equal(bands.at(50), second)


def test_a_forecast_without_truth_changes_nothing():
    bands = Adaptation(2, 3)
    bands.observe(0, np.full((2, 2, 3), np.nan))
    assert (bands.at(9) == 0).all()


@pytest.mark.parametrize("reference", [5, 20, 39])
def test_no_truth_after_the_reference_time_counts(reference):
    """Change every truth after a reference time: the bands of that time and before stay."""
    rng = np.random.default_rng(0)
    leads, truth = 4, rng.normal(size=60)
    forecasts = rng.normal(size=(50, leads))

    def widening(truth: np.ndarray) -> np.ndarray:
        bands, found = Adaptation(1, leads), []
        for made in range(50):
            found.append(bands.at(made))
            outside = (np.abs(forecasts[made] - truth[made + 1 : made + 1 + leads]) > 1.2).astype(float)
            bands.observe(made, np.stack([outside, outside])[:, None])
        return np.array(found)

    later = truth.copy()
    later[reference + 1 :] += 100
    before, after = widening(truth), widening(later)
    np.testing.assert_array_equal(before[: reference + 1], after[: reference + 1])
    assert (before[reference + 1 :] != after[reference + 1 :]).any()


@pytest.mark.parametrize(("spread", "least", "most"), [(1.0, 0.77, 0.83), (2.0, 0.75, 0.82)])
def test_coverage_comes_back_after_errors_have_grown(spread, least, most):
    """Normal errors of one cell whose spread is that of the calibration, or twice as large."""
    rng = np.random.default_rng(1)
    bands, inside = Adaptation(1, 3), []
    for made in range(600):
        w = bands.at(made)[:, 0]
        half = np.array([[1.2816], [1.96]]) * (1 + 2 * w)
        errors = spread * rng.normal(size=(3, 50))
        outside = (np.abs(errors) > half[..., None]).mean(-1)
        inside.append(1 - outside)
        bands.observe(made, outside[:, None])
    covered = np.mean(inside, 0)
    assert (covered[0] > least).all()
    assert (covered[0] < most).all()
    assert (covered[1] > 0.93).all()


def test_bands_narrow_by_little():
    bands = Adaptation(1, 1)
    for _ in range(1000):
        bands.learn(np.zeros((2, 1, 1)))
    assert (bands.widening == LEAST).all()


def test_bounds_move_by_their_width():
    bounds = torch.tensor([[1.0, 3.0], [0.0, 5.0]]).view(2, 2, 1, 1, 1, 1, 1).expand(2, 2, 4, 1, 1, 2, 3)
    widening = torch.tensor([0.25, 0.1]).view(2, 1, 1)
    moved = widened(bounds, widening, torch.tensor([0.0]))
    assert moved.shape == bounds.shape
    torch.testing.assert_close(moved[:, :, 0, 0, 0, 0, 0], torch.tensor([[0.5, 3.5], [0.0, 5.5]]))
    free = widened(bounds, widening, torch.tensor([-torch.inf]))
    torch.testing.assert_close(free[:, :, 3, 0, 0, 1, 2], torch.tensor([[0.5, 3.5], [-0.5, 5.5]]))


def test_shares_outside_against_numpy():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(5, 2, 3, 4, 6))
    truth[rng.random(truth.shape) < 0.3] = np.nan
    truth[2, 1] = np.nan
    lower = rng.normal(-1, 0.3, (2, *truth.shape))
    bounds = torch.from_numpy(np.stack([lower, lower + 2], 1))
    found = outside_shares(bounds, torch.from_numpy(truth)).numpy()
    beyond = np.where(np.isnan(truth), np.nan, (truth < lower) | (truth > lower + 2))
    assert np.isnan(found[:, 2, 1]).all()
    known = ~np.isnan(truth).all((-1, -2))
    np.testing.assert_allclose(found[:, known], np.nanmean(beyond[:, known], (-1, -2)), rtol=1e-6)


def test_a_widening_of_another_model_is_refused():
    with pytest.raises(ShapeError, match=r"The widening of bands is \(2, 1, 3\); expected \(2, 1, 2\)"):
        Adaptation(1, 2, np.zeros((2, 1, 3)))
