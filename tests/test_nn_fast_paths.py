"""The ways a network is computed on a CPU, against torch's own layers with the same weights."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from stconv.compute.export import to_program
from stconv.losses import RootMSE
from stconv.models import STConvS2S
from stconv.nn import conv3d
from stconv.nn.cells import from_cells, in_cells, only_torch, to_cells
from stconv.nn.conv import Convolution
from stconv.nn.conv3d import Conv3d
from stconv.nn.fused import normalized
from stconv.nn.memory import channels_last, recompute
from stconv.nn.padding import Pad
from stconv.nn.reversal import SpreadDifference, reversal_layer
from stconv.nn.spectral import multiply_adds, spectral_convolution
from stconv.nn.taps import tap_convolution
from stconv.nn.temporal import temporal_convolution, temporal_taps
from stconv.task import ForecastTask

WAYS = ("temporal_convolution", "spectral_convolution", "tap_convolution")


pytestmark = pytest.mark.usefixtures("one_thread")


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def close(found, expected, tolerance=1e-10):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * max(1.0, float(expected.detach().abs().max()))


@settings(max_examples=25)
@given(st.data())
def test_each_way_is_the_convolution_of_torch(data):
    def size(low, high):
        return data.draw(st.integers(low, high))

    batch, c_in, c_out = size(1, 2), size(1, 3), size(1, 3)
    t, k, m, p, q = size(1, 4), size(1, 5), size(1, 5), size(0, 3), size(0, 3)
    zeros = size(0, 4), size(0, 4)
    steps = size(max(1, t - sum(zeros)), 7)
    lat, lon = size(max(1, k - 2 * p), 9), size(max(1, m - 2 * q), 9)
    x, bias = double(batch, c_in, steps, lat, lon), double(c_out)
    in_time, in_space = double(c_out, c_in, t, 1, 1), double(c_out, c_in, 1, k, m)
    whole = double(c_out, c_in, t, k, m)
    longer = F.pad(x, (0, 0, 0, 0, *zeros))
    found = from_cells(temporal_convolution(to_cells(x), in_time[..., 0, 0], bias, zeros))
    close(found, F.conv3d(longer, in_time, bias))
    found = temporal_taps(x.contiguous(memory_format=torch.channels_last_3d), in_time[..., 0, 0], bias, zeros)
    close(found, F.conv3d(longer, in_time, bias))
    found = tap_convolution(to_cells(x), whole, bias, zeros, (p, q))
    close(found, F.conv3d(longer, whole, bias, padding=(0, p, q)))
    if p < k and q < m and p <= lat and q <= lon:
        found = from_cells(spectral_convolution(to_cells(x), in_space[:, :, 0], bias, (p, q)))
        close(found, F.conv3d(x, in_space, bias, padding=(0, p, q)))


def test_the_gradient_of_each_way_is_that_of_finite_differences():
    x, bias = double(1, 2, 4, 4, 3), double(2)
    in_time, in_space, whole = double(2, 2, 3, 1, 1), double(2, 2, 3, 3), double(2, 2, 3, 3, 1)
    for w in (in_time, double(2, 2, 4, 1, 1)):
        for zeros in ((0, 0), (2, 0), (1, 1), (0, 4)):
            for way in (_temporal, _taps):
                assert gradcheck(partial(way, zeros=zeros), (x, w, bias))
    assert gradcheck(lambda x, w, b: spectral_convolution(to_cells(x), w, b, (1, 1)), (x, in_space, bias))
    for zeros in ((0, 0), (2, 1), (0, 4)):
        assert gradcheck(
            lambda x, w, b, z=zeros: tap_convolution(to_cells(x), w, b, z, (1, 0)), (x, whole, bias)
        )


def test_the_gradient_of_many_rows_is_summed_in_parts(monkeypatch):
    """48 rows in parts of 7, the last one of 6."""
    monkeypatch.setattr("stconv.nn.temporal.SUMMED_ROWS", 7)
    x, weight, bias = double(1, 2, 5, 8, 6), double(3, 2, 3, 1, 1), double(3)
    change = double(1, 3, 5, 8, 6).detach()
    found = from_cells(temporal_convolution(to_cells(x), weight[..., 0, 0], bias, (1, 1)))
    expected = F.conv3d(x, weight, bias, padding=(1, 0, 0))
    ours, theirs = (torch.autograd.grad(y, (x, weight, bias), change) for y in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def _temporal(x, weight, bias, zeros):
    return temporal_convolution(to_cells(x), weight[..., 0, 0], bias, zeros)


def _taps(x, weight, bias, zeros):
    frames = x.contiguous(memory_format=torch.channels_last_3d)
    return temporal_taps(frames, weight[..., 0, 0], bias, zeros)


def test_frames_in_channels_last_are_convolved_in_time_without_another_order(monkeypatch):
    calls = []
    monkeypatch.setattr(conv3d, "temporal_taps", lambda *args: calls.append(1) or temporal_taps(*args))
    x = torch.randn(2, 3, 5, 4, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    layer = Conv3d(3, 8, (3, 1, 1), padding=(1, 0, 0))
    found = layer(x)
    assert calls
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    with only_torch():
        expected = layer(x)
    close(found, expected, 1e-5)
    weight = torch.randn_like(found)
    ours = torch.autograd.grad(found, (x, *layer.parameters()), weight)
    theirs = torch.autograd.grad(expected, (x, *layer.parameters()), weight)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b, 1e-5)


@pytest.mark.parametrize(
    ("kernel", "around", "spared"),
    [((3, 1, 1), (2, 0), 3 / 15), ((5, 5, 5), (2, 2), 6 / 25), ((5, 5, 5), (2, -1), 3 / 10)],
)
def test_zeros_around_the_frames_are_not_multiplied(kernel, around, spared):
    block = Convolution(8, 1, kernel, time_padding=around, norm="none", activation="none")
    x = from_cells(torch.randn(6, 7, 2, 5, 8))
    with only_torch():
        expected = block(x)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        found = block(x)
    close(found, expected, 1e-5)
    cells = 2 * 6 * 7
    steps = 5 + sum(around) - kernel[0] + 1
    direct = 2 * 8 * kernel[0] * kernel[1] * kernel[2] * cells * steps
    assert counter.get_total_flops() == round(direct * (1 - spared))


def test_the_gradient_of_the_two_branches_is_that_of_finite_differences():
    a, b = double(2, 1, 2, 1, 3), double(2, 1, 2, 3, 3)
    assert gradcheck(SpreadDifference.apply, (a, b))
    expected = a - torch.cat((b, b[..., -1:, :]), dim=3)
    assert torch.equal(SpreadDifference.apply(a, b), expected)


@pytest.mark.parametrize(
    "activation",
    [torch.nn.LeakyReLU(0.01), torch.nn.Identity(), torch.nn.GELU(), torch.nn.Tanh(), torch.nn.Sigmoid()],
)
@pytest.mark.parametrize("order", ["cells", "frames", "plain"])
def test_normalization_and_activation_are_those_of_torch(order, activation):
    ours = torch.nn.BatchNorm3d(3).double()
    torch.nn.init.normal_(ours.weight)
    torch.nn.init.normal_(ours.bias)
    theirs = copy.deepcopy(ours)
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    if order == "cells":
        x = from_cells(to_cells(x))
    elif order == "frames":
        x = x.contiguous(memory_format=torch.channels_last_3d)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = normalized(a, ours, activation), activation(theirs(b))
    close(found, expected)
    assert found.stride() == x.stride()
    weight = torch.randn_like(x)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    close(a.grad, b.grad)
    close(ours.weight.grad, theirs.weight.grad)
    for ours_buffer, theirs_buffer in zip(ours.buffers(), theirs.buffers(), strict=True):
        close(ours_buffer, theirs_buffer)


@pytest.fixture
def taken(monkeypatch):
    """The ways that were taken, in order."""
    names = []
    for name in WAYS:
        way = getattr(conv3d, name)
        monkeypatch.setattr(
            conv3d, name, lambda *args, way=way, name=name: names.append(name.split("_")[0]) or way(*args)
        )
    return names


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv3d(2, 3, (3, 1, 1)), (1, 2, 5, 4, 4), ["temporal"]),
        (Conv3d(64, 64, (1, 5, 5), padding=(0, 2, 2)), (8, 64, 4, 12, 12), ["spectral"]),
        (Conv3d(64, 64, (1, 5, 5), padding=(0, 2, 2)), (1, 64, 4, 12, 12), []),
        (Conv3d(8, 64, (1, 3, 3), padding=(0, 1, 1)), (8, 8, 4, 12, 12), []),
        (Conv3d(8, 1, (5, 5, 5), padding=(0, 2, 2)), (1, 8, 5, 6, 6), ["tap"]),
        (Conv3d(8, 1, (5, 5, 5), padding=2), (1, 8, 5, 6, 6), ["tap"]),
        (Conv3d(32, 2, (5, 3, 3), padding=2), (1, 32, 5, 6, 6), ["tap"]),
        (Conv3d(2, 3, (3, 1, 1), padding=(1, 0, 0)), (1, 2, 5, 4, 4), ["temporal"]),
        (Conv3d(4, 1, 1), (1, 4, 5, 4, 4), []),
        (Conv3d(8, 1, (5, 5, 5), dilation=2), (1, 8, 9, 9, 9), []),
        (Conv3d(8, 8, (3, 1, 1), groups=8), (1, 8, 5, 6, 6), []),
        (Conv3d(8, 8, (3, 1, 1), stride=2), (1, 8, 5, 6, 6), []),
    ],
)
def test_the_way_is_chosen_by_the_sizes(layer, shape, expected, taken):
    x = torch.randn(shape)
    cells = from_cells(to_cells(x))
    found = layer(cells)
    assert taken == expected
    with only_torch():
        close(found, layer(x), 1e-5)
    assert len(taken) == len(expected)
    taken.clear()
    layer(x)
    assert taken == [way for way in expected if way != "tap"], "taps of another order are slower than torch"
    taken.clear()
    layer(x.requires_grad_())
    assert taken == ([] if layer.out_channels == 2 else expected)


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("settings", [{}, {"alignment": "paper"}, {"variant": "C"}, {"spatial_first": True}])
def test_a_network_and_its_gradients_are_those_of_torch(settings, spectral, monkeypatch):
    if spectral:
        monkeypatch.setattr(conv3d, "MANY_ROWS", 1)
        monkeypatch.setattr(conv3d, "WORTH", 0)
    torch.manual_seed(1)
    ours = STConvS2S(2, 1, 5, 3, n_layers=2, n_filters=4, kernel=3, **settings).double()
    theirs = copy.deepcopy(ours)
    x = torch.randn(3, 2, 5, 7, 6, dtype=torch.float64)
    weight = torch.randn(3, 1, 3, 7, 6, dtype=torch.float64)
    found = channels_last(ours).compute(x)
    (found * weight).sum().backward()
    with only_torch():
        expected = theirs.compute(x)
        (expected * weight).sum().backward()
    close(found, expected)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(a.grad, b.grad, 1e-9)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        close(a, b)
    with torch.inference_mode():
        found = ours.eval().compute(x)
        with only_torch():
            close(found, theirs.eval().compute(x))


def test_wave_numbers_round_no_more_than_the_direct_sum():
    torch.manual_seed(0)
    x, weight = torch.randn(8, 32, 1, 32, 32), torch.randn(16, 32, 1, 5, 5)
    exact = F.conv3d(x.double(), weight.double(), padding=(0, 2, 2)).float()
    found = from_cells(spectral_convolution(to_cells(x), weight[:, :, 0], None, (2, 2)))
    assert (found - exact).abs().max() < 2e-6 * exact.abs().max()


def test_the_multiply_adds_of_the_largest_layer_by_hand():
    # 32 cells, period 34, 18 wave numbers along lat: transforms 36 + 36 * 2 * 34 / 32 per cell and channel,
    # products 2 * 36 * 34 / 1024 per cell and pair of channels.
    by_hand = (36 + 36 * 68 / 32) * (64 + 128) + 2 * 36 * 34 / 1024 * 64 * 128
    assert multiply_adds((32, 32), (5, 5), 64, 128, 10**9) == pytest.approx(by_hand)


def test_layers_of_one_order_do_not_copy():
    x = from_cells(torch.randn(4, 5, 2, 5, 3))
    for layer in (Pad((2, 0)), reversal_layer(3, 4, (5, 1, 1)), Convolution(3, 4, (3, 1, 1))):
        assert in_cells(x)
        assert in_cells(layer(x))


def test_a_watched_layer_is_run_by_itself():
    block = Convolution(2, 3, (1, 3, 3)).eval()
    seen = []
    block.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    x = torch.randn(1, 2, 1, 4, 4)
    with torch.inference_mode():
        found = block(x)
    assert len(seen) == 1
    assert torch.equal(found, F.leaky_relu(seen[0], 0.01))


def test_an_export_keeps_convolutions():
    graph = str(to_program(STConvS2S(1, 1, 5, 2, n_layers=1, n_filters=2, kernel=3)).graph)
    assert "conv3d" in graph
    assert "bmm" not in graph


@pytest.mark.parametrize("spectral", [False, True])
def test_blocks_that_run_twice_train_the_same(spectral, monkeypatch):
    if spectral:
        monkeypatch.setattr(conv3d, "MANY_ROWS", 1)
        monkeypatch.setattr(conv3d, "WORTH", 0)
    torch.manual_seed(1)
    once = STConvS2S(1, 1, 5, 2, n_layers=2, n_filters=4, kernel=3)
    twice = recompute(copy.deepcopy(once))
    x = torch.randn(2, 1, 5, 7, 6)
    kept = []
    for network in (once, twice):
        found = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, found=found: found.append(t.numel()) or t, lambda t: t
        ):
            y = network(x)
        y.square().sum().backward()
        kept.append(sum(found))
    assert kept[1] < 0.5 * kept[0]
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    for a, b in zip(once.buffers(), twice.buffers(), strict=True):
        assert torch.equal(a, b)


def test_the_task_asks_for_a_second_run_only_if_it_is_told_to():
    for wanted in (False, True):
        network = STConvS2S(1, 1, 5, 2, n_layers=1, n_filters=2, kernel=3)
        ForecastTask(network, RootMSE(), recompute_activations=wanted)
        assert {part.recompute for part in network.modules() if isinstance(part, Convolution)} == {wanted}
