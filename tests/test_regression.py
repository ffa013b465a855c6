"""Regressions in closed form against NumPy and by hand."""

import numpy as np
import pytest
import torch

from stconv.nn.regression import CellSlopes, NormalEquations, neighborhoods, ratio_with_error


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


def test_a_ratio_and_its_error_by_hand():
    products, squares = torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [4.0, 0.0]])
    w, error = ratio_with_error(products, squares)
    assert w.tolist() == [0.5, 1.0]  # (2 + 1) / (2 + 4); nothing counts as it is
    assert error.tolist() == [pytest.approx((2 * (1 + 1)) ** 0.5 / 6), 0.0]


def test_the_error_of_a_ratio_is_how_far_it_scatters():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2000, 6, 50))  # repetition, block, value
    y = 0.7 * a + rng.normal(size=a.shape)
    products, squares = (torch.from_numpy((p).sum(2).T) for p in (a * y, a * a))
    w, error = ratio_with_error(products, squares)
    assert w.mean().item() == pytest.approx(0.7, abs=0.01)
    assert error.square().mean().sqrt().item() == pytest.approx(w.std().item(), rel=0.1)


def test_slopes_of_cells_by_hand():
    """One target, one lead, three cells: much data, a slope above 1, none; in units however small."""
    for unit in (1.0, 1e-20):
        x = torch.tensor([[2.0, 1.0, 5.0], [4.0, 3.0, 5.0]], dtype=torch.float64).view(2, 1, 1, 1, 3) * unit
        y = torch.tensor([[1.0, 4.0, 5.0], [1.0, 2.0, 5.0]], dtype=torch.float64).view(2, 1, 1, 1, 3) * unit
        weight = torch.tensor([[1.0, 1.0, 0.0], [0.5, 1.0, 0.0]]).view(2, 1, 1, 1, 3)
        slopes = CellSlopes()
        slopes.add(x[:1], y[:1], weight[:1])
        slopes.add(x[1:], y[1:], weight[1:])
        # products 2 + 0.5 * 4, 4 + 6; squares 4 + 0.5 * 16, 1 + 9
        assert slopes.by_cell().flatten().tolist() == pytest.approx([4 / 12, 1.0, 0.0])
        assert slopes.common().item() == pytest.approx(14 / 22)
        prior = 7 * 22 / 3.5  # seven windows of the mean square
        expected = [(4 + prior * 14 / 22) / (12 + prior), (10 + prior * 14 / 22) / (10 + prior), 14 / 22]
        assert slopes.by_cell(7).flatten().tolist() == pytest.approx(expected)
