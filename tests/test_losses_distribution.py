"""Losses of distributions and spectra against NumPy, SciPy and values worked by hand."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from stconv.errors import ConfigError, ShapeError
from stconv.losses import CRPS, GaussianCRPS, LogCosh, Quantile, Spectral
from stconv.nn.normal_scores import normal_scores

SHAPE = (2, 1, 2, 5, 6)


@pytest.fixture
def fields() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Members, one forecast, truth and weights with missing cells."""
    rng = np.random.default_rng(0)
    members = torch.from_numpy(rng.normal(size=(5, *SHAPE)))
    forecast, target = torch.from_numpy(rng.normal(size=(2, *SHAPE)))
    weight = torch.from_numpy(rng.uniform(0.5, 1.5, SHAPE) * (rng.uniform(size=SHAPE) > 0.3))
    return members, forecast, torch.where(weight > 0, target, 0), weight


def mean(error: np.ndarray, weight: torch.Tensor) -> float:
    return float((error * weight.numpy()).sum() / weight.numpy().sum())


def test_log_cosh(fields):
    _, forecast, target, weight = fields
    expected = mean(np.log(np.cosh((forecast - target).numpy())), weight)
    assert LogCosh()(forecast, target, weight).item() == pytest.approx(expected)
    large = torch.full(SHAPE, 1e4)
    assert LogCosh()(large, 0 * large, large).item() == pytest.approx(1e4 - np.log(2))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_quantile_loss_is_least_at_the_quantile(level):
    sample = torch.randn(1, 1, 1, 1, 4001, generator=torch.Generator().manual_seed(0))
    candidates = np.linspace(-2, 2, 81)
    loss = [
        Quantile(level)(torch.full_like(sample, c), sample, torch.ones_like(sample)).item()
        for c in candidates
    ]
    assert candidates[np.argmin(loss)] == pytest.approx(np.quantile(sample, level), abs=0.06)


def test_quantile_loss_by_hand():
    prediction, target = torch.tensor([1.0, 5.0]), torch.tensor([3.0, 4.0])
    # 2 too low at weight 0.9, 1 too high at weight 0.1
    assert Quantile(0.9)(prediction, target, torch.ones(2)).item() == pytest.approx((1.8 + 0.1) / 2)


@pytest.mark.parametrize("fair", [False, True])
def test_crps_of_members(fields, fair):
    members, _, target, weight = fields
    x, y = members.numpy(), target.numpy()
    pairs = np.abs(x[:, None] - x[None]).sum((0, 1)) / (5 * 4 if fair else 25)
    expected = mean(np.abs(x - y).mean(0) - pairs / 2, weight)
    assert CRPS(fair)(members, target, weight).item() == pytest.approx(expected)


def test_crps_is_twice_the_mean_pinball_loss_of_its_quantiles(fields):
    members, _, target, weight = fields
    ordered = members.sort(0).values
    pinball = [Quantile((i + 0.5) / 5)(ordered[i], target, weight).item() for i in range(5)]
    assert CRPS()(members, target, weight).item() == pytest.approx(2 * np.mean(pinball))


def test_squared_error_beside_crps_trains_the_mean_alone(fields):
    """The gradient by the mean of the members is that of the squared error, the rest that of the CRPS."""
    members, _, target, weight = fields
    members = members.requires_grad_()
    loss = CRPS(squared_error=0.7)(members, target, weight)
    squares = mean((members.mean(0) - target).square().detach().numpy(), weight)
    assert loss.item() == pytest.approx(CRPS()(members, target, weight).item() + 0.7 * squares)
    (both,) = torch.autograd.grad(loss, members)
    (alone,) = torch.autograd.grad(CRPS()(members, target, weight), members)
    share = weight / weight.sum()
    torch.testing.assert_close(both.sum(0), 1.4 * share * (members.mean(0) - target))
    torch.testing.assert_close(both - both.mean(0), alone - alone.mean(0))


def test_a_negative_weight_of_the_squared_error_is_refused():
    with pytest.raises(ConfigError, match="squared_error is -1; expected 0 or a positive number"):
        CRPS(squared_error=-1)


def test_gaussian_crps_is_the_integral_of_the_squared_difference():
    deviation, average, truth = 1.7, 0.4, 2.0
    members = (average + deviation * normal_scores(9)).view(9, 1, 1, 1, 1, 1).double()

    def integrand(x: float) -> float:
        return (stats.norm.cdf(x, average, deviation) - (x >= truth)) ** 2

    expected = sum(integrate.quad(integrand, *span)[0] for span in ((-20, truth), (truth, 20)))
    one = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
    assert GaussianCRPS()(members, truth * one, one).item() == pytest.approx(expected, rel=1e-4)


def test_normal_scores_are_those_of_scipy():
    np.testing.assert_allclose(normal_scores(7), stats.norm.ppf((np.arange(7) + 0.5) / 7), rtol=1e-6)


def test_spectral_loss_against_numpy(fields):
    _, forecast, target, weight = fields
    known = weight.numpy() > 0
    p, t = (np.where(known, field.numpy(), 0) for field in (forecast, target))
    amplitudes = [np.abs(np.fft.rfft2(field)) / np.sqrt(30) for field in (p, t)]
    expected = mean((p - t) ** 2, weight) + 0.3 * np.abs(amplitudes[0] - amplitudes[1]).mean()
    assert Spectral(0.3, 1e-12)(forecast, target, weight).item() == pytest.approx(expected, rel=1e-5)


def test_a_smooth_forecast_has_a_greater_spectral_loss():
    rough = torch.randn(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    ones, shifted = torch.ones_like(rough), rough.roll((3, 5), (-2, -1))
    smooth = rough * 0.3
    plain = ((shifted - rough) ** 2).mean().item()
    same_roughness = Spectral(1.0)(shifted, rough, ones).item()
    assert same_roughness == pytest.approx(plain, rel=1e-4)
    assert Spectral(1.0)(smooth, rough, ones) > ((smooth - rough) ** 2).mean() + 0.3


@pytest.mark.parametrize(
    "loss", [LogCosh(), Quantile(0.9), Spectral(), CRPS(), CRPS(fair=True), GaussianCRPS()]
)
def test_gradients_are_finite_and_none_where_truth_is_missing(fields, loss: nn.Module):
    members, forecast, target, weight = fields
    of_members = isinstance(loss, CRPS | GaussianCRPS)
    for prediction in (
        members if of_members else forecast,
        torch.zeros_like(members if of_members else target),
    ):
        prediction = prediction.clone().requires_grad_()
        loss(prediction, target, weight).backward()
        assert torch.isfinite(prediction.grad).all()
        assert not (prediction.grad * (weight == 0)).any()
        prediction.grad = None
        empty = loss(prediction, target, torch.zeros_like(weight))
        empty.backward()
        assert torch.isfinite(empty)
        assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("loss", [CRPS(), GaussianCRPS()])
def test_a_single_forecast_is_no_distribution(fields, loss):
    _, forecast, target, weight = fields
    with pytest.raises(ConfigError, match="network that forecasts a distribution, and this one makes a"):
        loss(forecast[None], target, weight)
    with pytest.raises(ShapeError, match="three tensors of one shape"):
        loss(forecast, target, weight)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Quantile(80), "level is 80; expected between 0 and 1"),
        (lambda: Spectral(0), "share is 0 and epsilon"),
        (lambda: GaussianCRPS(0), "epsilon is 0; expected a positive number"),
    ],
)
def test_impossible_settings_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
