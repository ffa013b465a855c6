"""Probabilities of thresholds from members, against NumPy."""

import numpy as np
import pytest
import torch

from stconv.verification.scores.exceedance import Exceedance


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray]:
    """Truth with gaps, and ten members, of rain and temperature with two leads."""
    rng = np.random.default_rng(0)
    truth = rng.gamma(0.4, 2.0, (7, 2, 2, 4, 5))
    members = truth * rng.gamma(2.0, 0.5, (10, *truth.shape))
    truth[rng.random(truth.shape) < 0.2] = np.nan
    return truth, members


def test_scores_against_numpy(case):
    truth, members = case
    scores = Exceedance(["rain", "t"], 2, {"rain": [2.0, 0.5]}, {"rain": 0.25})
    for rows in (slice(0, 3), slice(3, None)):
        scores.add(torch.from_numpy(truth[rows]), torch.from_numpy(members[:, rows]))
    ds = scores.to_dataset()
    assert ds["value"].values[0].tolist() == [0.5, 2.0]
    assert np.isnan(ds["value"].values[1]).all()
    assert np.isnan(ds["brier"].sel(variable="t")).all()
    for i, limit in enumerate((0.25, 1.75)):  # values are departures from the center
        for lead in range(2):
            y, x = truth[:, 0, lead], members[:, :, 0, lead]
            known = np.isfinite(y)
            event, chance = (y >= limit)[known], (x >= limit).mean(0)[known]
            here = ds.isel(threshold=i, lead=lead).sel(variable="rain")
            assert here["brier"] == pytest.approx(np.mean((chance - event) ** 2))
            f = event.mean()
            assert here["event_frequency"] == pytest.approx(f)
            assert here["brier_skill"] == pytest.approx(1 - np.mean((chance - event) ** 2) / (f * (1 - f)))
            bins = np.minimum((chance * 10 + 1e-9).astype(int), 9)
            apart = sum(
                (bins == k).sum() * (chance[bins == k].mean() - event[bins == k].mean()) ** 2
                for k in np.unique(bins)
            )
            assert here["reliability"] == pytest.approx(apart / known.sum())


def test_a_certain_and_right_forecast_is_perfect(case):
    truth = torch.from_numpy(case[0])
    scores = Exceedance(["rain", "t"], 2, {"rain": [0.5], "t": [1.0]}, {})
    scores.add(truth, truth.nan_to_num().expand(4, *truth.shape))
    ds = scores.to_dataset()
    np.testing.assert_allclose(ds["brier_skill"], 1)
    np.testing.assert_allclose(ds["reliability"], 0)


def test_members_that_miss_a_value_are_not_scored(case):
    truth, members = (torch.from_numpy(part) for part in case)
    members[3, :, :, :, :2] = torch.nan
    scores = Exceedance(["rain", "t"], 2, {"rain": [0.5]}, {})
    scores.add(truth, members)
    counted = scores.to_dataset()["bin_count"].sel(variable="rain").sum("bin")
    assert counted.values.ravel().tolist() == truth[:, 0, :, 2:].isfinite().sum((0, 2, 3)).tolist()
