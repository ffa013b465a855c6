"""Properties of every convolution block of any size: it turns with the globe, and sees no future."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stconv.nn.conv import Convolution, Factored
from stconv.nn.probability import probability
from stconv.nn.reversal import Reversed, reversal_layer
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable

BLOCKS = [Convolution, Factored, DepthwiseSeparable, AxisSeparable]
SMALL = st.integers(1, 3)
ODD = st.sampled_from([1, 3, 5])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.mark.parametrize("maker", [*BLOCKS, reversal_layer])
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_shifted_around_the_globe_comes_out_shifted(maker, data):
    c_in, c_out, dilation = (data.draw(SMALL) for _ in range(3))
    kernel = tuple(data.draw(ODD) for _ in range(3))
    options = {} if maker is reversal_layer else {"dilation": dilation}
    block = maker(c_in, c_out, kernel, space_padding="periodic", **options).eval()
    reach = dilation * (kernel[2] - 1) // 2
    x = torch.randn(1, c_in, 5, 6, data.draw(st.integers(reach + 1, 16)))
    shift = data.draw(st.integers(1, 15))
    torch.testing.assert_close(block(x.roll(shift, -1)), block(x).roll(shift, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("maker", BLOCKS)
@settings(max_examples=15)
@given(data=st.data())
def test_shifting_north_shifts_the_output_away_from_the_edges(maker, data):
    c_in, c_out = data.draw(SMALL), data.draw(SMALL)
    kernel = tuple(data.draw(ODD) for _ in range(3))
    block = maker(c_in, c_out, kernel, space_padding="valid").eval()
    x, shift = torch.randn(1, c_in, 5, 14, 7), data.draw(st.integers(1, 8))
    torch.testing.assert_close(block(x[..., shift:, :]), block(x)[..., shift:, :], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("maker", BLOCKS)
@settings(max_examples=15)
@given(data=st.data())
def test_a_causal_block_sees_no_future(maker, data):
    c_in, c_out, dilation = (data.draw(SMALL) for _ in range(3))
    kernel, steps = (data.draw(st.integers(1, 5)), 3, 1), data.draw(st.integers(2, 8))
    block = maker(c_in, c_out, kernel, dilation=(dilation, 1, 1), time_padding="causal").eval()
    changed = data.draw(st.integers(1, steps - 1))
    x = torch.randn(1, c_in, steps, 4, 4)
    other = torch.cat((x[:, :, :changed], torch.randn(1, c_in, steps - changed, 4, 4)), dim=2)
    torch.testing.assert_close(block(x)[:, :, :changed], block(other)[:, :, :changed])


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(2, 6), st.data())
def test_a_reversed_layer_sees_a_future_but_keeps_the_length(kernel, steps, data):
    kernel = min(kernel, steps)
    block = Reversed(reversal_layer(2, 3, (kernel, 1, 1))).eval()
    assert block(torch.randn(1, 2, steps, 3, 3)).shape == (1, 3, steps, 3, 3)


def test_softmax_of_the_lectures():
    logits = torch.tensor([1.2, 0.9, 0.4]).view(1, 3, 1, 1, 1)
    expected = torch.tensor([0.457, 0.338, 0.205])
    torch.testing.assert_close(probability(logits).flatten(), expected, atol=5e-4, rtol=0)
    one = torch.tensor([[[[[0.3]]]]])
    torch.testing.assert_close(probability(one), 1 / (1 + (-one).exp()))
