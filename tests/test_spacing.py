"""Evenly spaced choices from a sequence."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stconv.spacing import evenly_spaced


def test_items_are_evenly_spaced():
    assert evenly_spaced(range(10), 20) == list(range(10))
    assert evenly_spaced(range(101), 5) == [0, 25, 50, 75, 100]
    assert evenly_spaced(range(7, 9), 1) == [7]
    assert evenly_spaced("abcde", 3) == ["a", "c", "e"]
    assert evenly_spaced([], 3) == []


@given(n=st.integers(2, 400), most=st.integers(2, 400))
def test_the_first_and_the_last_are_among_them_and_no_gap_is_much_wider_than_another(n, most):
    found = evenly_spaced(range(n), most)
    assert (found[0], found[-1], len(found)) == (0, n - 1, min(n, most))
    gaps = np.diff(found)
    assert gaps.min() >= 1
    assert np.ptp(gaps) <= 1
