"""Weights of a combination of forecasts, against a constrained minimum by SciPy and sums in NumPy."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.nn.combination import combination_weights, error_products

N_FORECASTS, N_TARGETS, LEADS = 3, 2, 2


def forecasts_and_truth(n_windows: int, seed: int) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Forecasts of different quality with related errors, truth and weights, (window, target, lead, 3, 4)."""
    rng = np.random.default_rng(seed)
    shape = (n_windows, N_TARGETS, LEADS, 3, 4)
    y, common = rng.normal(size=shape), rng.normal(size=shape)
    found = [y + 0.3 * common + size * rng.normal(size=shape) for size in (0.65, 0.5, 0.55)]
    weight = rng.uniform(0.5, 1, shape) * (rng.random(shape) > 0.2)
    return [torch.from_numpy(forecast) for forecast in found], torch.from_numpy(y), torch.from_numpy(weight)


def best_mixture(errors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights of least squared error, at least 0 with the sum 1, by a general minimizer."""

    def loss(w: np.ndarray) -> float:
        return float((weight * np.tensordot(w, errors, 1) ** 2).sum())

    sum_is_one = {"type": "eq", "fun": lambda w: w.sum() - 1}
    start = np.full(len(errors), 1 / len(errors))
    done = scipy.optimize.minimize(
        loss, start, bounds=[(0, 1)] * len(errors), constraints=sum_is_one, tol=1e-13
    )
    return done.x


def mixed(mixture: np.ndarray, errors: np.ndarray, weight: np.ndarray) -> float:
    """Weighted sum of the squared errors of a mixture of forecasts."""
    return float((weight * np.tensordot(mixture, errors, 1) ** 2).sum())


def kept_share(gain: np.ndarray, doubt: float) -> float:
    """Share of a step that its gain in each block justifies."""
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return max(0, 1 - (doubt * error / gain.mean()) ** 2) if gain.mean() > 0 else 0


@pytest.mark.parametrize("n_windows", [24, 9])
def test_the_weights_lie_between_the_choice_of_a_forecast_and_the_best_mixture(n_windows: int) -> None:
    forecasts, y, weight = forecasts_and_truth(n_windows, seed=0)
    found = combination_weights(error_products(forecasts, y, weight), 1, {2: 1}).numpy()
    n_blocks = min(8, n_windows // LEADS)
    blocks = np.array_split(np.arange(n_windows), n_blocks)
    inside = 0
    for target, lead in np.ndindex(N_TARGETS, LEADS):
        errors = np.stack([(y - forecast)[:, target, lead].numpy() for forecast in forecasts])
        w = weight[:, target, lead].numpy()
        squares = np.array([[(w[block] * e[block] ** 2).sum() for e in errors] for block in blocks])
        halves = list(itertools.combinations(range(n_blocks), n_blocks // 2))
        often = np.mean([np.eye(N_FORECASTS)[squares[list(half)].sum(0).argmin()] for half in halves], axis=0)
        excess = squares - squares[:, [squares.sum(0).argmin()]]
        spread = excess.std(0, ddof=1) / np.sqrt(n_blocks)
        often = np.where(excess.mean(0) <= 0.5 * spread, often, 0)
        choice = often / often.sum()
        choice[1] += (1 - kept_share(squares[:, 1] - squares[:, 2], 2)) * choice[2]
        choice[2] = 1 - choice[0] - choice[1]
        gain = squares[:, 0] - [mixed(choice, errors[:, block], w[block]) for block in blocks]
        simple = np.eye(N_FORECASTS)[0]
        choice = simple + kept_share(gain, 0.5) * (choice - simple)
        p, s = np.zeros(n_blocks), np.zeros(n_blocks)
        for i, block in enumerate(blocks):
            others = np.setdiff1d(np.arange(n_windows), block)
            step = best_mixture(errors[:, others], w[others]) - choice
            towards = -np.tensordot(step, errors[:, block], 1)  # the mixture's forecast minus the chosen one
            p[i] = (w[block] * towards * np.tensordot(choice, errors[:, block], 1)).sum()
            s[i] = (w[block] * towards**2).sum()
        factor = p.sum() / s.sum()
        error = np.sqrt(n_blocks / (n_blocks - 1) * ((p - factor * s) ** 2).sum()) / s.sum()
        doubt = scipy.stats.t.ppf(0.975, n_blocks - 1) * error
        kept = np.clip(factor * max(0, 1 - (doubt / factor) ** 2), 0, 1)
        step = best_mixture(errors, w) - choice
        np.testing.assert_allclose(found[:, target, lead], choice + kept * step, atol=2e-3)
        inside += 0 < kept < 1
    assert inside


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(0, 10_000), st.floats(0.01, 3))
def test_weights_add_up_to_one_and_none_is_negative(n_windows: int, seed: int, size: float) -> None:
    forecasts, y, weight = forecasts_and_truth(n_windows, seed)
    forecasts[2] = forecasts[0] + size * (forecasts[2] - forecasts[0])
    weights = combination_weights(error_products(forecasts, y, weight), 1)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(N_TARGETS, LEADS, dtype=torch.float64))


@pytest.mark.parametrize(("gain", "least", "most"), [(0.4, 0.9, 1.0), (0.0, 0.0, 0.4)])
def test_a_forecast_has_to_earn_its_weight_against_one_without_coefficients(
    gain: float, least: float, most: float
) -> None:
    """On average over many series, a forecast that is hardly better than the simple one has little weight."""
    weights = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y = torch.from_numpy(rng.normal(size=(24, 1, 1, 2, 2)))
        simple, fitted = torch.zeros_like(y), torch.from_numpy(0.2 * rng.normal(size=y.shape)) + gain * y
        weights.append(combination_weights(error_products([simple, fitted], y, torch.ones_like(y)), 1)[1])
    assert least <= torch.stack(weights).mean() <= most


def test_few_windows_choose_the_best_forecast_alone() -> None:
    forecasts, y, weight = forecasts_and_truth(3, seed=1)
    weights = combination_weights(error_products(forecasts, y, weight), 1)
    assert set(weights.flatten().tolist()) == {0.0, 1.0}
    losses = torch.stack([(weight * (y - each) ** 2).sum((0, 3, 4)) for each in forecasts])
    assert torch.equal(weights.argmax(0), losses.argmin(0))


def test_equal_forecasts_and_a_target_without_truth_have_weights_as_well() -> None:
    forecasts, y, weight = forecasts_and_truth(20, seed=2)
    weight[:, 1] = 0
    products = error_products([forecasts[0], forecasts[0], forecasts[2]], y, weight)
    weights = combination_weights(products, 1)
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(0), torch.ones(N_TARGETS, LEADS, dtype=torch.float64))
    assert (weights[0, 1] == 1).all()
