"""The oracle against hand-worked examples, itself, finite differences and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate


@st.composite
def problems(draw):
    """A random convolution problem in 1, 2 or 3 dimensions."""
    n = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(n)]
    stride = tuple(draw(st.integers(1, 2)) for _ in range(n))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(n))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(n))
    axes = [d * (k - 1) + 1 + draw(st.integers(0, 2)) for k, d in zip(kernel, dilation, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    c_in, c_out, batch = (draw(st.integers(1, 3)) for _ in range(3))
    x, w = rng.normal(size=(batch, c_in, *axes)), rng.normal(size=(c_out, c_in, *kernel))
    return x, w, rng.normal(size=c_out), {"stride": stride, "dilation": dilation, "padding": padding}, rng


@settings(max_examples=30)
@given(problem=problems())
def test_the_two_ways_of_convolving_agree(oracle, problem):
    x, w, b, how, rng = problem
    y = oracle.direct(x, w, b, **how)
    np.testing.assert_allclose(oracle.im2col(x, w, b, **how), y, atol=1e-12)
    dy = rng.normal(size=y.shape)
    by_definition = oracle.direct_gradients(x, w, dy, **how)
    by_product = oracle.im2col_gradients(x, w, dy, **how)
    for one, other in zip(by_definition, by_product, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-12)


@settings(max_examples=10)
@given(problem=problems())
def test_gradients_of_the_oracle_are_slopes(oracle, problem):
    x, w, b, how, rng = problem
    dy = rng.normal(size=oracle.direct(x, w, b, **how).shape)
    gradients = oracle.direct_gradients(x, w, dy, **how)
    for of, gradient in zip((x, w, b), gradients, strict=True):
        cell = tuple(rng.integers(0, size) for size in of.shape)
        before = of[cell]
        values = []
        for step in (0.5, -0.5):
            of[cell] = before + step
            values.append((oracle.direct(x, w, b, **how) * dy).sum())
        of[cell] = before
        assert gradient[cell] == pytest.approx(values[0] - values[1], abs=1e-9)  # linear, so exact


def test_oracle_equals_scipy(oracle):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 6, 5)), rng.normal(size=(2, 3, 3))
    expected = correlate(x, w, mode="valid")
    np.testing.assert_allclose(oracle.direct(x[None, None], w[None, None])[0, 0], expected, atol=1e-12)


def test_transposed_is_the_gradient_of_a_convolution(oracle):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 5)), rng.normal(size=(3, 4, 4))  # (c_in, c_out, 4) is (c_out', c_in', 4)
    y = oracle.transposed(x, w, stride=(2,), padding=((1, 1),))
    assert y.shape == (2, 4, 10)
    dx, _, _ = oracle.direct_gradients(np.zeros((2, 4, 10)), w, x, stride=(2,), padding=((1, 1),))
    np.testing.assert_allclose(y, dx, atol=1e-12)
