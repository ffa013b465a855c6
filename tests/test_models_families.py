"""Properties of each family beyond the contract of every network."""

from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from published_unet import published_unet
from stconv.errors import ConfigError, ShapeError
from stconv.explain import frames_in_reach
from stconv.models import (
    Bounded,
    Conv3D,
    ConvLSTM,
    DampedPersistence,
    FrameMixer,
    Linear3x3,
    LinearResidual,
    MixedConv,
    Persistence,
    PredRNN,
    Quantiles,
    ResNet2D,
    ResNet2Plus1D,
    UNet,
    build,
    describe,
)
from stconv.nn.combination import combination_weights

SIZES = (3, 2, 4, 3)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def windows(n=2, lat=5, lon=6):
    return torch.randn(n, 3, 4, lat, lon)


def test_stacked_frames_start_from_a_forecast_of_zero():
    x, inner = windows(), ResNet2D(*SIZES, n_filters=4)
    assert not inner(x).any()
    torch.testing.assert_close(LinearResidual(inner)(x), DampedPersistence(*SIZES)(x))
    assert [block.body[0].conv.dilation for block in inner.blocks] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


def test_stacked_frames_learn_all_at_once_after_a_step():
    network, x = ResNet2D(*SIZES, n_filters=4, dropout=0.1), windows()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x) - 1).square().mean().backward()
        optimizer.step()
    assert all(weight.grad.abs().max() > 0 for weight in network.parameters())


def test_linear_regression_finds_what_made_the_data():
    x = torch.randn(40, 1, 2, 6, 6)
    truth = 0.7 * x[:, :, -1:].roll(1, -1) - 0.2 * x[:, :, :1]
    network = Linear3x3(1, 1, 2, 1)
    patches = np.lib.stride_tricks.sliding_window_view(x.numpy()[:, 0], (3, 3), axis=(2, 3))
    rows = np.moveaxis(patches, 1, 3).reshape(-1, 18)
    weights, *_ = np.linalg.lstsq(rows, truth[:, 0, 0, 1:-1, 1:-1].numpy().ravel(), rcond=None)
    with torch.no_grad():
        network.regression.convolution.conv.weight.copy_(torch.from_numpy(weights).view(1, 1, 2, 3, 3))
        network.regression.convolution.conv.bias.zero_()
    torch.testing.assert_close(network(x)[..., 1:-1, 1:-1], truth[..., 1:-1, 1:-1], rtol=1e-3, atol=1e-4)


def test_mixed_without_time_sees_one_frame_for_each_step():
    seen = frames_in_reach(MixedConv(1, 1, 4, 4, n_3d=0, n_filters=2, alignment="paper", kernel=1))
    assert seen.tolist() == torch.eye(4, dtype=torch.bool).tolist()
    assert frames_in_reach(MixedConv(1, 1, 4, 4, n_3d=0, n_filters=2)).all()


@pytest.mark.parametrize("network", [ConvLSTM, PredRNN])
def test_recurrent_networks_forecast_the_same_however_far_they_go(network):
    far = network(3, 2, 4, 5, n_filters=3)
    near = network(3, 2, 4, 2, n_filters=3)
    near.load_state_dict(far.state_dict())
    x = windows()
    torch.testing.assert_close(near(x), far(x)[:, :, :2])
    one = network(3, 2, 4, 1, n_filters=3)
    one.load_state_dict({k: v for k, v in far.state_dict().items() if not k.startswith("read_forecast")})
    torch.testing.assert_close(one(x), far(x)[:, :, :1])


def test_recurrent_networks_feed_their_forecast_back():
    """Cell by cell, as the papers draw it: c and h along time, m up the layers and on to the lowest."""
    x, zero = windows(), torch.zeros(2, 3, 1, 5, 6)
    lstm, pred = ConvLSTM(*SIZES, n_filters=3), PredRNN(*SIZES, n_filters=3)
    h0 = c0 = h1 = c1 = zero
    g0 = e0 = g1 = e1 = m = zero
    expected, expected_pred = [], []
    for step in range(4 + 2):
        frame = x[:, :, step : step + 1] if step < 4 else None
        below = lstm.read(frame) if step < 4 else lstm.read_forecast(expected[-1])
        h0, c0 = lstm.cells[0](below, h0, c0)
        h1, c1 = lstm.cells[1](h0, h1, c1)
        below = pred.read(frame) if step < 4 else pred.read_forecast(expected_pred[-1])
        g0, e0, m = pred.cells[0](below, g0, e0, m)
        g1, e1, m = pred.cells[1](g0, g1, e1, m)
        if step >= 3:
            expected.append(lstm.head(h1))
            expected_pred.append(pred.head(g1))
    torch.testing.assert_close(lstm(x), torch.cat(expected, 2))
    torch.testing.assert_close(pred(x), torch.cat(expected_pred, 2))


def test_recurrent_counts_follow_from_their_gates():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    d, k = 4, 9
    both_ends = (3 * d * k + d) + (2 * d * k + d) + (2 * d + 2)
    lstm = 2 * (2 * d * 4 * d * k + 4 * d)
    assert count(ConvLSTM(*SIZES, n_filters=d)) == both_ends + lstm
    cell = (2 * d * 4 * d * k + 4 * d) + (2 * d * 3 * d * k + 3 * d) + (2 * d * d * k + d) + (2 * d * d + d)
    assert count(PredRNN(*SIZES, n_filters=d)) == both_ends + 2 * cell


@pytest.mark.parametrize(
    "network",
    [
        ResNet2Plus1D(*SIZES, n_filters=4, space_padding="periodic"),
        published_unet(*SIZES, n_filters=4, space_padding="periodic"),
        published_unet(*SIZES, n_filters=4, space_padding="periodic", encoder="vgg"),
        FrameMixer(*SIZES, n_filters=4, n_layers=1, space_padding="periodic"),
        ConvLSTM(*SIZES, n_filters=4, space_padding="periodic"),
        PredRNN(*SIZES, n_filters=4, space_padding="periodic"),
    ],
)
def test_going_round_the_globe_goes_round_with_the_forecast(network):
    x = windows(lat=6, lon=24)
    network.eval()
    torch.testing.assert_close(network(x.roll(8, -1)), network(x).roll(8, -1), rtol=1e-4, atol=1e-5)


@settings(max_examples=8)
@given(st.integers(1, 3), st.sampled_from(["batch", "group", "layer"]), st.data())
def test_a_stacked_unet_has_no_seam_in_longitude(n_levels, norm, data):
    step = 2 ** (n_levels - 1)
    lat, lon, shift = (step * data.draw(st.integers(1, most)) for most in (3, 6, 5))
    network = UNet(*SIZES, n_levels=n_levels, n_filters=8, norm=norm, space_padding="periodic").eval()
    with torch.no_grad():
        for parameter in network.parameters():  # some start at zero
            parameter.copy_(0.2 * torch.randn(parameter.shape))
        x = windows(lat=lat + 2, lon=max(lon, 2 * step))
        y = network(x)
        torch.testing.assert_close(network(x.roll(shift, -1)), y.roll(shift, -1), rtol=1e-4, atol=1e-5)
    assert y.std() > 1e-3


def test_encoders_differ_by_their_shortcuts():
    def shortcuts(encoder):
        return [name for name, _ in published_unet(*SIZES, n_filters=4, encoder=encoder).named_modules()
                if name.endswith("shortcut")]  # fmt: skip

    assert shortcuts("vgg") == []
    assert len(shortcuts("resnet")) == 3
    with pytest.raises(
        ConfigError, match="encoder of UNet is 'alexnet'; expected one of: residual, resnet, vgg"
    ):
        published_unet(*SIZES, encoder="alexnet")
    with pytest.raises(
        ConfigError, match="translator of FrameMixer is 'vit'; expected one of: gsta, convmixer"
    ):
        FrameMixer(*SIZES, translator="vit")


def test_bounds_hold_forecasts_and_leave_training_alone():
    x = windows()
    network = Bounded(Persistence(*SIZES), lower=[-0.5, None], upper=0.25)
    free = Persistence(*SIZES)(x)
    assert torch.equal(network.train()(x), free)
    y = network.eval()(x)
    assert torch.equal(y[:, 0], free[:, 0].clamp(-0.5, 0.25))
    assert torch.equal(y[:, 1], free[:, 1].clamp(max=0.25))
    assert torch.equal(build(describe(network)).eval()(x), y)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "Bounded has no bound; give `lower`, `upper` or both"),
        (
            {"lower": 1.0, "upper": 1.0},
            r"lower of Bounded is 1\.0 and upper 1\.0; expected lower below upper",
        ),
        ({"lower": [0.0]}, "lower of Bounded has 1 values for 2 targets; expected one for each"),
    ],
)
def test_impossible_bounds_are_refused(bounds, message):
    with pytest.raises(ConfigError, match=message):
        Bounded(Persistence(*SIZES), **bounds)


def test_damping_of_each_cell_belongs_to_its_grid():
    network = LinearResidual(ResNet2D(*SIZES, n_filters=4), grid=[5, 6])
    assert network.climatology_start.factor.shape == (2, 3, 5, 6)
    assert describe(build(describe(network))) == describe(network)
    with pytest.raises(ShapeError, match=r"built for a grid of \(5, 6\)"):
        network(windows(lon=7))


def test_starts_are_weighed_on_what_follows_their_fit():
    rng = np.random.default_rng(0)
    network = LinearResidual(Persistence(*SIZES)).eval()
    assert network.start_names == ("climatology", "persistence", "damped", "towards recent level")
    x = rng.normal(size=(60, 3, 4, 5, 6)) + rng.normal(size=(60, 3, 1, 1, 1))
    level = x[:, :2].mean(2, keepdims=True)
    y = 0.5 * level + 0.3 * x[:, :2, -1:] * np.array([1, 0.8, 0.6])[:, None, None]
    y = y + 0.5 * rng.normal(size=y.shape)
    weight = rng.uniform(0.5, 1, y.shape)
    batches = [torch.from_numpy(a).float() for a in (x, y, weight)]

    def windows(first: int, end: int):
        return partial(zip, *(a[first:end].split(7) for a in batches), strict=True)

    products = []
    for origin, end in [(20, 40), (40, 60)]:
        known, coming = slice(origin), slice(origin, end)
        forecasts = [np.zeros_like(y[coming]), np.repeat(x[coming, :2, -1:], 3, 2)]
        for base in (0 * level, level):
            newest, w = x[:, :2, -1:] - base, weight[known]
            slope = (w * newest[known] * (y - base)[known]).sum((0, 3, 4)) / (w * newest[known] ** 2).sum(
                (0, 3, 4)
            )
            forecasts.append(base[coming] + slope.clip(0, 1)[:, :, None, None] * newest[coming])
        errors = np.stack([y[coming] - forecast for forecast in forecasts])
        products.append(np.einsum("ibclhw,jbclhw,bclhw->bclij", errors, errors, weight[coming]))
    network.fit_combination([(windows(0, 20), windows(20, 40)), (windows(0, 40), windows(40, 60))])
    expected = combination_weights(torch.from_numpy(np.concatenate(products)), 2)
    torch.testing.assert_close(network.start_weight[..., 0, 0].double(), expected, atol=2e-5, rtol=0)
    assert ((expected > 0.1) & (expected < 0.9)).any()
    before = network.start_weight.clone()
    network.fit_combination([])
    assert torch.equal(network.start_weight, before)
    network.before_training(windows(0, 40), windows(40, 60))
    starts = [
        torch.zeros(20, 2, 3, 5, 6), batches[0][40:, :2, -1:].expand(-1, -1, 3, -1, -1),
        network.climatology_start(batches[0][40:]), network.recent_start(batches[0][40:]),
    ]  # fmt: skip
    network.residual_weight.zero_()
    forecast = sum(w * start for w, start in zip(network.start_weight, starts, strict=True))
    torch.testing.assert_close(network(batches[0][40:]), forecast)


def test_the_regression_sees_as_many_frames_as_it_is_told():
    x = torch.randn(60, 3, 4, 5, 6)
    y = (0.8 * x[:, :2, :1]).expand(-1, -1, 3, -1, -1)  # the fourth newest frame alone says what follows

    def windows(first: int, end: int):
        return partial(zip, *(a[first:end].split(7) for a in (x, y, torch.ones_like(y))), strict=True)

    for frames, lags in ((3, 3), (9, 4)):
        network = LinearResidual(Persistence(*SIZES), neighbors=True, frames=frames).eval()
        more = network.reference_start if network.pooled_start is None else network.pooled_start
        assert (network.climatology_start.lags, network.reference_start.lags, more.lags) == (3, 3, lags)
        assert describe(build(describe(network))) == describe(network)
        network.before_training(windows(0, 40), windows(40, 60))
        network.fit_combination([(windows(0, 20), windows(20, 40)), (windows(0, 40), windows(40, 60))])
        error = (more(x[40:]) - y[40:]).square().mean().sqrt()
        assert error < 1e-2 if lags == 4 else error > 0.7
    network.residual_weight.zero_()
    torch.testing.assert_close(network(x[40:]), y[40:], atol=1e-2, rtol=0)
    alone = LinearResidual(Persistence(*SIZES), neighbors=True, frames=4, combine=False).eval()
    alone.before_training(windows(0, 40), windows(40, 60))
    torch.testing.assert_close(alone.climatology_start(x), y, atol=1e-2, rtol=0)
    with pytest.raises(ConfigError, match="frames of LinearResidual is 0"):
        LinearResidual(Persistence(*SIZES), neighbors=True, frames=0)


@pytest.mark.parametrize(("n_windows", "n_blocks"), [(30, 8), (12, 4), (3, 1)])
def test_the_network_is_used_as_far_as_other_windows_say(n_windows: int, n_blocks: int):
    rng = np.random.default_rng(0)
    network = LinearResidual(Quantiles(Conv3D(*SIZES, n_layers=1, n_filters=4), n_members=3)).eval()
    x = torch.from_numpy(rng.normal(size=(n_windows, 3, 4, 5, 6))).float()
    start, difference = network.climatology_start(x), network.network(x).detach()
    torch.testing.assert_close(network(x), start + difference)
    y = start + torch.tensor([0.5, 0.1, 3.0])[:, None, None] * difference
    y = y + 0.1 * torch.from_numpy(rng.normal(size=y.shape)).float()
    weight = torch.from_numpy(rng.uniform(0.5, 1, y.shape)).float()
    y[weight < 0.6] = 99
    weight[weight < 0.6] = 0
    spread = network.members(x).std(0)
    windows = partial(zip, *(a.split(5) for a in (x, y, weight)), strict=True)
    network.fit_residual_weight(windows)
    d, left, w = (a.detach().double().numpy() for a in (difference, y - start, weight))
    blocks = np.array_split(np.arange(n_windows), n_blocks)
    products = np.stack([(w * left * d)[block].sum((0, 3, 4)) for block in blocks])
    squares = np.stack([(w * d**2)[block].sum((0, 3, 4)) for block in blocks])
    share = np.zeros(products.shape[1:])
    if n_blocks > 1:
        factor = products.sum(0) / squares.sum(0)
        scatter = n_blocks / (n_blocks - 1) * ((products - factor * squares) ** 2).sum(0)
        doubt = scipy.stats.t.ppf(0.975, n_blocks - 1) * np.sqrt(scatter) / squares.sum(0)
        share = (factor * np.maximum(0, 1 - (doubt / factor) ** 2)).clip(0, 1)
        assert ((share > 0) & (share < 1)).any()
    np.testing.assert_allclose(network.residual_weight[..., 0, 0], share, atol=2e-3)
    torch.testing.assert_close(network(x), (start + network.residual_weight * difference).detach())
    torch.testing.assert_close(network.members(x).mean(0), network(x))
    torch.testing.assert_close(network.members(x).std(0), spread)  # how sure it is does not change
    one = network.train()(x[:1])
    torch.testing.assert_close(one, start[:1] + network.network(x[:1]))  # it learns with all of itself
    before = network.residual_weight.clone()
    network.fit_residual_weight(list)
    assert torch.equal(network.residual_weight, before)
    alone = LinearResidual(Persistence(*SIZES), combine=False)
    alone.fit_combination([(windows, windows)])
    alone.fit_residual_weight(windows)
    torch.testing.assert_close(alone(x), start + x[:, :2, -1:])


@pytest.mark.parametrize(
    "make", [lambda: DampedPersistence(1, 2, 3, 4), lambda: LinearResidual(ResNet2D(1, 2, 3, 4))]
)
def test_damped_persistence_needs_the_history_of_every_target(make):
    with pytest.raises(ConfigError, match=r"has 1 input channels for 2 targets"):
        make()
