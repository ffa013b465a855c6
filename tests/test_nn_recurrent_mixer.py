"""Recurrent cells against NumPy from their equations; residual, mixed, dense, damped and attention blocks."""

import numpy as np
import pytest
import torch
from torch import nn

from stconv.errors import ConfigError, ShapeError
from stconv.nn.conv import Convolution
from stconv.nn.damping import Damping
from stconv.nn.dense import Dense
from stconv.nn.frames import StackFrames, UnstackFrames
from stconv.nn.mixed import mixed
from stconv.nn.mixer import GatedAttention, conv_mixer, gated_block
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.recurrent import ConvLSTMCell, SpatioTemporalCell
from stconv.nn.residual import Residual, channel_dropout, residual_block, start_at_zero
from stconv.nn.stack import stack


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolved(oracle, block, x):
    w, b = block.conv.weight.detach().numpy(), block.conv.bias.detach().numpy()
    half = w.shape[-1] // 2
    return oracle.im2col(x, w, b, padding=((0, 0), (half, half), (half, half)))


def test_conv_lstm_cell_is_its_equations(oracle):
    cell = ConvLSTMCell(2, 3, 3)
    x, h, c = torch.randn(2, 2, 1, 4, 5), torch.randn(2, 3, 1, 4, 5), torch.randn(2, 3, 1, 4, 5)
    i, f, o, g = np.split(convolved(oracle, cell.gates, np.concatenate([x, h], 1)), 4, axis=1)
    c_new = sigmoid(f) * c.numpy() + sigmoid(i) * np.tanh(g)
    for found, expected in zip(cell(x, h, c), (sigmoid(o) * np.tanh(c_new), c_new), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_spatio_temporal_cell_is_its_equations(oracle):
    cell = SpatioTemporalCell(2, 3, 3)
    x = torch.randn(2, 2, 1, 4, 5)
    h, c, m = (torch.randn(2, 3, 1, 4, 5) for _ in range(3))
    i, f, o, g = np.split(convolved(oracle, cell.temporal, np.concatenate([x, h], 1)), 4, axis=1)
    c_new = sigmoid(f) * c.numpy() + sigmoid(i) * np.tanh(g)
    i, f, g = np.split(convolved(oracle, cell.spatial, np.concatenate([x, m], 1)), 3, axis=1)
    m_new = sigmoid(f) * m.numpy() + sigmoid(i) * np.tanh(g)
    both = np.concatenate([c_new, m_new], 1)
    h_new = sigmoid(o + convolved(oracle, cell.output, both)) * np.tanh(convolved(oracle, cell.fusion, both))
    for found, expected in zip(cell(x, h, c, m), (h_new, c_new, m_new), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_dense_layer_is_a_matrix_product_and_slides():
    layer = Dense(3, 4, (2, 3, 5), activation="none")
    linear = nn.Linear(3 * 2 * 3 * 5, 4)
    linear.weight.data, linear.bias.data = layer.conv.weight.data.flatten(1), layer.conv.bias.data
    x = torch.randn(2, 3, 2, 4, 7)
    y = layer(x)
    assert y.shape == (2, 4, 1, 2, 3)
    torch.testing.assert_close(y[:, :, 0, 1, 2], linear(x[..., 1:4, 2:7].flatten(1)))


def test_residual_block_of_the_same_size_has_no_projection_and_can_start_as_nothing():
    block = residual_block(Convolution, 2, 2, 3, activation="none", norm="none")
    assert isinstance(block.shortcut, nn.Identity)
    start_at_zero(block.body[2])
    x = torch.randn(1, 2, 3, 4, 5)
    assert torch.equal(block(x), x)


def test_residual_block_adds_and_then_activates():
    block = Residual(Convolution(2, 3, 1, norm="none", activation="none"), nn.Conv3d(2, 3, 1), "relu")
    x = torch.randn(1, 2, 3, 4, 5)
    torch.testing.assert_close(block(x), (block.body(x) + block.shortcut(x)).relu())


def test_residual_block_projects_where_grid_or_channels_change():
    block = residual_block(Convolution, 2, 3, 3, stride=(1, 2, 2)).eval()
    assert block.shortcut.conv.kernel_size == (1, 1, 1)
    assert block(torch.randn(1, 2, 3, 5, 7)).shape == (1, 3, 3, 3, 4)


def test_dropout_takes_whole_channels_in_training_only():
    drop, x = channel_dropout(0.5), torch.ones(4, 16, 2, 3, 3)
    y = drop(x)
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert all(len(channel.unique()) == 1 for channel in y.flatten(0, 1))
    assert torch.equal(drop.eval()(x), x)
    for share in (1, -0.1, "half", True):
        with pytest.raises(ConfigError, match=r"dropout is .*expected a share.*at least 0 and below 1"):
            channel_dropout(share)


@pytest.mark.parametrize(("last", "taps"), [(False, [3, 3, 1, 1]), (True, [1, 1, 3, 3])])
def test_mixed_stacks_see_time_at_one_end(last, taps):
    layers = stack(mixed(4, 2, time_last=last), 1, [2, 2, 2, 2], 3)
    assert [layer.conv.kernel_size for layer in layers] == [(t, 3, 3) for t in taps]
    with pytest.raises(ConfigError, match="n_3d of mixed is 5 of 4 layers; expected at most that many"):
        mixed(4, 5)


def test_damping_by_lead_target_and_cell():
    x = torch.randn(2, 3, 4, 5, 6)
    layer = Damping(2, 3)
    expected = x[:, :2, -1:] * torch.tensor([0.9, 0.81, 0.729]).view(1, 1, 3, 1, 1)
    torch.testing.assert_close(layer(x), expected)
    cells = Damping(2, 3, (5, 6))
    torch.testing.assert_close(cells(x), expected)
    assert cells.factor.shape == (2, 3, 5, 6)
    with pytest.raises(
        ShapeError, match=r"built for a grid of \(5, 6\) cells and got \(5, 7\)\. Give the grid"
    ):
        cells(torch.zeros(2, 3, 4, 5, 7))
    with pytest.raises(ConfigError, match=r"grid of Damping is \(5,\); expected two sizes: \(lat, lon\)"):
        Damping(2, 3, (5,))


@pytest.mark.parametrize("grid", [(5, 7), (1, 6)])
@pytest.mark.parametrize("neighbors", [None, 3])
def test_damping_of_another_grid_is_not_fitted(grid, neighbors):
    """Not even where the shapes would broadcast."""
    layer = Damping(2, 3, grid, neighbors)
    before = layer.factor.clone()
    batch = (torch.ones(4, 2, 3, 5, 6), torch.ones(4, 2, 3, 5, 6), torch.ones(4, 2, 3, 5, 6))
    message = rf"built for a grid of \({grid[0]}, {grid[1]}\) cells and got \(5, 6\)\. Give the grid"
    with pytest.raises(ShapeError, match=message):
        layer.fit(lambda: [batch])
    assert torch.equal(layer.factor, before)


def test_damping_is_fitted_by_least_squares_and_cells_with_little_data_follow_the_others():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2, 3, 2, 2))
    truth = np.array([[0.8, 0.5], [0.3, 1.4]])[:, :, None, None]  # target, lead; the last is clamped to 1
    y = truth[None] * x[:, :, -1:, :, :] + 0.1 * rng.normal(size=(400, 2, 2, 2, 2))
    weight = np.ones_like(y)
    weight[2:, :, :, 0, 0] = 0
    y[:2, 0, :, 0, 0] = 9 * x[:2, 0, -1, 0, 0][:, None]  # two windows must not persuade a cell
    arrays = [torch.from_numpy(a).float() for a in (x, y, weight)]
    batches = list(zip(*(a.split(150) for a in arrays), strict=True))
    cells, common = Damping(2, 2, (2, 2)), Damping(2, 2)
    cells.fit(lambda: iter(batches))
    common.fit(lambda: iter(batches))
    newest = x[:, :, -1:]
    xy, xx = (weight * newest * y).sum(0), (weight * newest**2).sum(0)
    pooled = xy.sum((-2, -1), keepdims=True) / xx.sum((-2, -1), keepdims=True)
    prior = 30 * xx.sum((-2, -1), keepdims=True) / weight.sum(0).sum((-2, -1), keepdims=True)
    expected = ((xy + prior * pooled) / (xx + prior)).clip(0, 1)
    np.testing.assert_allclose(cells.factor.detach(), expected, rtol=1e-5)
    np.testing.assert_allclose(common.factor.detach(), pooled.clip(0, 1), rtol=1e-5)
    assert cells.factor[0, 0, 1, 1].item() == pytest.approx(0.8, abs=0.05)
    assert cells.factor[0, 0, 0, 0].item() < 1
    before = cells.factor.clone()
    cells.fit(list)
    assert torch.equal(cells.factor, before)


def test_regression_on_the_neighbors_finds_what_the_damping_leaves():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3, 4, 6, 7))
    truth = rng.normal(size=(2, 2, 2, 3, 3))  # target, lead, lag, row, column
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    y = np.zeros((60, 2, 2, 6, 7))
    for lag in range(2):
        for i in range(3):
            for j in range(3):
                frame = padded[:, :2, 2 + lag, i : i + 6, j : j + 7]
                y += truth[None, :, :, lag, i, j, None, None] * frame[:, :, None]
    weight = rng.uniform(0.5, 1, y.shape)
    y[weight < 0.6] = 99
    weight[weight < 0.6] = 0
    arrays = [torch.from_numpy(a).float() for a in (x, y, weight)]
    layer = Damping(2, 2, neighbors=2)
    layer.fit(lambda: zip(*(a.split(25) for a in arrays), strict=True))
    error = (layer(arrays[0]) - arrays[1])[arrays[2] > 0]
    assert error.abs().max() < 1e-3  # the truth is linear, and is found whatever the damping took
    whole = truth.copy()
    whole[:, :, 1, 1, 1] -= layer.factor.detach()[:, :, 0, 0].numpy()
    np.testing.assert_allclose(layer.weight.detach().view(2, 2, 2, 3, 3), whole, atol=1e-3)


@pytest.mark.parametrize("neighbors", [None, 3])
def test_damping_towards_the_recent_mean_knows_no_level(neighbors: int | None):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 3, 4, 5, 6)), rng.normal(size=(40, 2, 3, 5, 6))
    y += 0.6 * x[:, :2, -1:] + 2 * x[:, :2, :1]
    weight = np.ones_like(y)
    level = x[:, :2].mean(2, keepdims=True)

    def fitted(recent: bool, *arrays: np.ndarray, lags: int | None = neighbors) -> Damping:
        layer = Damping(2, 3, (5, 6), lags, recent=recent)
        batches = [torch.from_numpy(a).float().split(15) for a in arrays]
        layer.fit(lambda: zip(*batches, strict=True))
        return layer

    layer = fitted(True, x, y, weight)
    apart = np.concatenate([x[:, :2] - level, x[:, 2:]], axis=1)
    about_zero = fitted(False, apart, y - level, weight)
    found, expected = layer(torch.from_numpy(x).float()), about_zero(torch.from_numpy(apart).float())
    np.testing.assert_allclose(found.detach(), expected.detach() + level, atol=1e-5)
    higher = fitted(True, x + 100, y + 100, weight)
    torch.testing.assert_close(higher(torch.from_numpy(x + 100).float()), found + 100, atol=1e-3, rtol=0)
    newest = x[:, :, -1:]
    alone = fitted(True, newest, y, weight, lags=neighbors and 1)(torch.from_numpy(newest).float())
    np.testing.assert_allclose(alone.detach(), np.repeat(newest[:, :2], 3, axis=2), atol=1e-6)  # persistence


def test_frames_as_channels_and_back():
    x = torch.randn(2, 3, 4, 5, 6)
    stacked = StackFrames()(x)
    assert torch.equal(stacked[:, 1 * 4 + 3, 0], x[:, 1, 3])
    assert torch.equal(UnstackFrames(4)(stacked), x)


def test_a_grid_is_lengthened_at_its_end():
    x = torch.arange(6.0).view(1, 1, 1, 2, 3)
    assert PadToMultiple(4)(x)[0, 0, 0].tolist() == [[0, 1, 2, 2], *[[3, 4, 5, 5]] * 3]
    assert PadToMultiple(4, "periodic")(x)[0, 0, 0, 1].tolist() == [3, 4, 5, 3]
    assert PadToMultiple(8, "periodic")(x)[0, 0, 0, 1].tolist() == [3, 4, 5, 5, 5, 5, 5, 5]
    assert torch.equal(PadToMultiple(1)(x), x)


def test_gated_attention_is_gate_times_value_over_23_cells():
    block = GatedAttention(2)
    x = torch.randn(1, 2, 1, 31, 31, requires_grad=True)
    y = block(x)
    both = block.mix(block.dilated(block.local(x)))
    torch.testing.assert_close(y, both[:, :2] * both[:, 2:].sigmoid())
    y[0, :, 0, 15, 15].sum().backward()
    rows = x.grad[0].abs().amax(dim=(0, 1, 3)).nonzero().flatten()
    assert (rows.min(), rows.max()) == (4, 26)


@pytest.mark.parametrize("block", [conv_mixer(4), gated_block(4)])
def test_translator_blocks_keep_the_shape(block):
    assert block(torch.randn(2, 4, 1, 5, 6)).shape == (2, 4, 1, 5, 6)
