"""Filling in time against the fill methods of xarray, and from cells around against NumPy."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stconv.datasets.series.filling import fill_forward_and_backward, fill_from_around, newest_known

WINDOWS = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 5), st.just(2), st.just(3)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([np.nan, np.nan, 1.5, -2.0, 7.25]))
)


def as_xarray(x):
    return xr.DataArray(x, dims=("batch", "channel", "time", "lat", "lon"))


@given(WINDOWS)
def test_the_newest_known_value_is_that_of_a_forward_fill_in_numpy_and_in_torch(x):
    expected = as_xarray(x).ffill("time")[:, :, -1].values
    np.testing.assert_array_equal(newest_known(np.moveaxis(x, 2, 0)[::-1]), expected)
    np.testing.assert_array_equal(newest_known(reversed(torch.from_numpy(x).unbind(2))), expected)


@given(WINDOWS)
def test_gaps_are_filled_forward_then_backward(x):
    before = x.copy()
    expected = as_xarray(x).ffill("time").bfill("time").values
    np.testing.assert_array_equal(fill_forward_and_backward(torch.from_numpy(x)), expected)
    np.testing.assert_array_equal(x, before)


def test_frames_may_come_one_by_one():
    frames = (np.array([value]) for value in (np.nan, 3.0, 2.0))
    assert newest_known(frames).tolist() == [3.0]


def filled_from_around(field):
    """Mean of the known cells in the 3 x 3 cells around a cell, else in the 3 x 3 blocks around its block."""
    filled = field.copy()
    for i, j in np.argwhere(np.isnan(field)):
        for size in (1, 3, 9, 27):
            row, column = i // size * size, j // size * size
            known = field[max(row - size, 0) : row + 2 * size, max(column - size, 0) : column + 2 * size]
            known = known[~np.isnan(known)]
            if known.size:
                filled[i, j] = known.mean()
                break
    return filled


FIELDS = st.tuples(st.integers(1, 2), st.integers(1, 11), st.integers(1, 30)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([*[np.nan] * 9, 1.5, -2.0, 7.25]))
)


@given(FIELDS)
def test_missing_cells_get_the_mean_of_the_known_ones_around(x):
    before = x.copy()
    found = fill_from_around(torch.from_numpy(x))
    np.testing.assert_allclose(found, [filled_from_around(field) for field in x], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_filling_from_around_by_hand(dtype):
    nan = float("nan")
    x = torch.tensor([[1, nan, nan, nan], [3, nan, nan, nan]], dtype=dtype)
    y = fill_from_around(x)
    assert y.tolist() == [
        [1, 2, 2, 2],
        [3, 2, 2, 2],
    ]  # 3 x 3 cells for the second column, 3 x 3 blocks for the others
    assert y.dtype == dtype
    assert fill_from_around(torch.full((2, 3), nan)).isnan().all()
