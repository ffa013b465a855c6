"""Filling in time, in NumPy and in torch, against the fill methods of xarray."""

import numpy as np
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stconv.datasets.series.filling import fill_forward_and_backward, newest_known

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
