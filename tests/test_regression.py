"""Regressions in closed form against NumPy and SciPy."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from stconv.regression import NormalEquations, least_squares_in_the_unit_square, neighborhoods


def test_weighted_least_squares_batch_by_batch():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 50, 4)), rng.uniform(size=(2, 50))
    y = rng.normal(size=(2, 50))
    equations = NormalEquations((2,), 4)
    for problem in range(2):
        for part in (slice(0, 20), slice(20, 50)):
            arrays = (torch.from_numpy(a[problem, part]) for a in (x, y, weight))
            equations.add((problem,), *arrays)
    for problem, found in enumerate(equations.solve().numpy()):
        root = np.sqrt(weight[problem])
        expected = np.linalg.lstsq(root[:, None] * x[problem], root * y[problem], rcond=None)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_neighborhood_of_a_corner_and_of_the_middle():
    frame = torch.arange(12.0).view(1, 1, 3, 4)
    rows = neighborhoods(frame)[0]
    assert rows[0].tolist() == [0, 0, 1, 0, 0, 1, 4, 4, 5]
    assert rows[5].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]


@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(-3, 3), st.booleans())
def test_two_weights_in_the_unit_square_are_those_of_scipy(seed, u, v, dependent):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 20))
    if dependent:
        b = -2 * a
    y = u * a + v * b + 0.1 * rng.normal(size=20)
    sums = [
        torch.tensor(float(p @ q), dtype=torch.float64) for p, q in ((a, a), (a, b), (b, b), (a, y), (b, y))
    ]
    found = np.array([w.item() for w in least_squares_in_the_unit_square(*sums)])
    expected = lsq_linear(np.stack([a, b], 1), y, (0, 1), tol=1e-12)
    assert (found >= 0).all()
    assert (found <= 1).all()
    cost = 0.5 * ((y - found @ np.stack([a, b])) ** 2).sum()
    assert cost <= expected.cost * (1 + 1e-6) + 1e-9
    if not dependent:
        np.testing.assert_allclose(found, expected.x, atol=1e-4)


def test_what_is_nothing_counts_as_it_is():
    zero, one = torch.zeros(2), torch.ones(2)
    u, v = least_squares_in_the_unit_square(one, zero, zero, 0.25 * one, zero)
    assert u.tolist() == [0.25, 0.25]
    assert v.tolist() == [1, 1]
    u, v = least_squares_in_the_unit_square(zero, zero, zero, zero, zero)
    assert u.tolist() == v.tolist() == [1, 1]
