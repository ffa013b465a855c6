"""Ranges across the date line and the area of cells, against a walk around the circle and an integral."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stconv.sphere import area_weights, within, within_longitudes, wrapped


def walked(lon, west, east):
    """Which longitudes a walk from `west` to `east` passes, a whole turn where they are that far apart."""
    end = east
    while end < west:
        end += 360
    while end > west + 360:
        end -= 360
    degrees = np.arange(west, (west + 360 if east - west >= 360 else end) + 1)
    return [any((lon_i - d) % 360 == 0 for d in degrees) for lon_i in lon]


@given(st.integers(-180, 180), st.integers(-180, 360))
def test_a_range_of_longitudes_is_a_walk_to_the_east(west, east):
    lon = np.arange(-180, 180, 7)
    expected = walked(lon, west, east)
    assert within_longitudes(lon, west, east).tolist() == expected
    assert within_longitudes(lon % 360, west, east).tolist() == expected


def test_a_range_across_the_date_line_and_a_whole_turn():
    lon = np.array([-180.0, -170, -10, 0, 10, 170])
    assert within_longitudes(lon, 165, -165).tolist() == [True, True, False, False, False, True]
    assert within_longitudes(lon, 0, 0).tolist() == [False, False, False, True, False, False]
    assert within_longitudes(lon, -180, 180).all()
    assert within_longitudes(lon, 0, 360).all()


def test_rows_are_within_bounds_in_either_order():
    lat = np.array([50.0, 40, 30])
    assert within(lat, 30, 45).tolist() == within(lat, 45, 30).tolist() == [False, True, True]


def test_degrees_are_wrapped_around_greenwich():
    assert wrapped(np.array([0.0, 180, -180, 359, -181])).tolist() == [0, -180, -180, -1, 179]


def test_the_weight_of_a_row_is_its_area():
    """The area between two parallels is 2 pi R^2 (sin north - sin south); a row is as good as its middle."""
    lat = np.arange(-89.5, 90)
    exact = np.sin(np.deg2rad(lat + 0.5)) - np.sin(np.deg2rad(lat - 0.5))
    weight = area_weights(lat, 3)
    assert weight.shape == (180, 3)
    np.testing.assert_allclose(weight[:, 2] / weight[:, 2].sum(), exact / exact.sum(), rtol=1e-6)


@pytest.mark.parametrize("pole", [-90.00001, 90.00001])
def test_a_pole_that_is_rounded_has_no_negative_weight(pole):
    assert (area_weights(np.array([pole]), 2) == 0).all()


def test_rows_that_are_no_latitudes_weigh_the_same():
    np.testing.assert_array_equal(area_weights(np.array([0.0, 7e5]), 2, geographic=False), np.ones((2, 2)))
