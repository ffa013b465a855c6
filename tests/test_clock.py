"""Units of time, against NumPy and cftime."""

import cftime
import numpy as np
import pytest

from stconv.clock import GREGORIAN_CALENDARS, TIME_UNITS, WEEK_SECONDS, largest_unit


def test_units_are_as_long_as_those_of_numpy():
    code = {"day": "D", "hour": "h", "minute": "m", "second": "s"}
    for unit in TIME_UNITS:
        assert np.timedelta64(1, code[unit.name]) == np.timedelta64(unit.seconds, "s")
    assert np.timedelta64(1, "W") == np.timedelta64(WEEK_SECONDS, "s")


@pytest.mark.parametrize(("seconds", "symbol"), [(172_800, "d"), (21_600, "h"), (5_400, "min"), (61, "s")])
def test_the_largest_unit_divides(seconds, symbol):
    assert largest_unit(seconds).symbol == symbol


def test_gregorian_calendars_agree_today_and_the_others_do_not():
    def days(calendar):
        return cftime.date2num(
            cftime.datetime(2021, 3, 1, calendar=calendar), "days since 1970-01-01", calendar
        )

    assert {days(calendar) for calendar in GREGORIAN_CALENDARS} == {days("standard")}
    for other in ("noleap", "all_leap", "360_day"):
        assert days(other) != days("standard")
