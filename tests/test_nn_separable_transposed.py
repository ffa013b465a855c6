"""Separable and transposed convolutions against the oracle, and their costs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.errors import ConfigError
from stconv.nn.conv import Convolution
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable
from stconv.nn.transposed import Transposed

RAW = {"norm": "none", "activation": "none"}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_depthwise_separable_is_a_kernel_per_channel_then_a_mixture(oracle):
    block = DepthwiseSeparable(3, 4, (3, 3, 5), **RAW)
    x = torch.randn(2, 3, 4, 5, 6)
    depth, point = (p.detach().numpy() for p in block.parameters())
    padding = ((1, 1), (1, 1), (2, 2))
    each = [oracle.direct(x[:, [c]].numpy(), depth[[c]], padding=padding) for c in range(3)]
    expected = oracle.direct(np.concatenate(each, axis=1), point)
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_axis_separable_is_the_outer_product_of_its_kernels(oracle):
    block = AxisSeparable(1, 1, (3, 5, 3), **RAW)
    lat, lon, time = (p.detach().numpy().ravel() for p in block.parameters())
    kernel = np.einsum("t,h,w->thw", time, lat, lon)[None, None]
    x = torch.randn(2, 1, 4, 6, 5)
    expected = oracle.direct(x.numpy(), kernel, padding=((1, 1), (2, 2), (1, 1)))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [3, 5, 7])
def test_costs_are_as_the_lectures_say(k):
    full = count(Convolution(8, 8, (1, k, k), **RAW))
    assert count(AxisSeparable(8, 8, (1, k, k), **RAW)) / full == pytest.approx(2 / k)
    assert count(DepthwiseSeparable(8, 8, (1, k, k), **RAW)) / full == pytest.approx(1 / 8 + 1 / k**2)


@pytest.mark.parametrize("kernel", [1, (1, 3, 1), (3, 1, 1)])
def test_axis_separable_leaves_out_axes_of_one_tap(kernel):
    assert len(AxisSeparable(2, 3, kernel)) == 1
    assert AxisSeparable(2, 3, kernel)(torch.randn(2, 2, 3, 4, 5)).shape == (2, 3, 3, 4, 5)


@settings(max_examples=25)
@given(
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    wider=st.tuples(*[st.integers(0, 1)] * 3),
    axes=st.tuples(*[st.integers(1, 3)] * 3),
    c_in=st.integers(1, 3),
    c_out=st.integers(1, 3),
)
def test_transposed_equals_the_oracle_forward_and_backward(oracle, stride, wider, axes, c_in, c_out):
    kernel = tuple(s + 2 * more for s, more in zip(stride, wider, strict=True))
    padding = tuple((more, more) for more in wider)
    block = Transposed(c_in, c_out, kernel, stride=stride, **RAW)
    x = torch.randn(2, c_in, *axes, requires_grad=True)
    y = block(x)
    assert y.shape[2:] == tuple(s * n for s, n in zip(stride, axes, strict=True))
    w = block.conv.weight.detach().numpy()
    expected = oracle.transposed(x.detach().numpy(), w, stride, padding)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    dy = torch.randn(y.shape)
    y.backward(dy)  # The transpose of the transpose is the convolution.
    expected = oracle.direct(dy.numpy(), w, stride=stride, padding=padding)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-4, atol=1e-4)
    _, dw, _ = oracle.direct_gradients(dy.numpy(), w, x.detach().numpy(), stride=stride, padding=padding)
    np.testing.assert_allclose(block.conv.weight.grad.numpy(), dw, rtol=1e-4, atol=1e-4)


REFUSED = [
    (
        {"kernel": 3, "stride": 2},
        r"spans 3 along time with stride 2; expected at least the stride.*: 2, 4, 6",
    ),
    ({"kernel": (2, 2, 1), "stride": (2, 2, 3)}, r"spans 1 along lon with stride 3"),
    (
        {"kernel": 3, "time_padding": "causal"},
        r"padding of Transposed is 'causal' in time and 'zero' in space",
    ),
    ({"kernel": 3, "c_in": 0}, r"c_in of Transposed is 0"),
]


@pytest.mark.parametrize(("setting", "message"), REFUSED)
def test_refused_settings_say_what_was_expected(setting, message):
    with pytest.raises(ConfigError, match=message):
        Transposed(**{"c_in": 1, "c_out": 1, **setting})
