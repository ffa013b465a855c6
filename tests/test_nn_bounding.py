"""Members drawn into bounds: the nearest members that keep the mean."""

import numpy as np
import pytest
import torch
from scipy import optimize

from stconv.nn.bounding import drawn_above


def test_by_hand():
    members = torch.tensor([-2.0, 0.0, 3.0, 7.0])  # mean 2
    # 3 and 7 lose 1 each, so that 0, 0, 2 and 6 have the mean 2 as well
    assert drawn_above(members, torch.tensor(0.0)).tolist() == [0, 0, 2, 6]


def test_members_above_the_floor_stay():
    members = torch.randn(9, 4, 5)
    torch.testing.assert_close(drawn_above(members, members.amin(0)), members)


def test_a_mean_below_the_floor_has_no_spread():
    members = torch.tensor([[-4.0], [-1.0], [2.0]])
    assert drawn_above(members, torch.tensor([0.0])).tolist() == [[-1], [-1], [-1]]


def test_it_is_the_nearest_of_all_members_above_the_floor_with_this_mean():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.normal(0.4, 1.5, 6)
        x += max(0.0, 0.2 - x.mean())
        found = optimize.minimize(
            lambda y, x=x: ((y - x) ** 2).sum(),
            np.full(6, x.mean()),
            bounds=[(-0.1, None)] * 6,
            constraints={"type": "eq", "fun": lambda y, x=x: y.sum() - x.sum()},
            tol=1e-12,
        )
        drawn = drawn_above(torch.from_numpy(x), torch.tensor(-0.1, dtype=torch.float64))
        np.testing.assert_allclose(drawn, found.x, atol=1e-5)


@pytest.mark.parametrize("n", [2, 16])
def test_properties_in_many_cells(n):
    members = 2 * torch.randn(n, 50, 40, generator=torch.Generator().manual_seed(n))
    floor = torch.linspace(-1, 1, 40)
    drawn = drawn_above(members, floor)
    torch.testing.assert_close(drawn.mean(0), members.mean(0), atol=1e-5, rtol=0)
    above = members.mean(0) > floor
    assert (drawn - floor)[:, above].min() >= -1e-6
    order = members.argsort(0)
    assert (drawn.gather(0, order).diff(dim=0) >= -1e-6).all()
    torch.testing.assert_close(drawn_above(drawn, floor), drawn, atol=1e-5, rtol=0)


def test_gradient():
    members = torch.tensor([[-2.0, -1.0], [0.3, -3.0], [3.0, 0.5], [7.0, 0.1]], dtype=torch.float64)
    members.requires_grad_()
    floor = torch.zeros(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: drawn_above(x, floor), members)
