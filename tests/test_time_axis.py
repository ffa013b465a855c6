"""Steps, breaks, advancing and cycles of times in any calendar."""

from datetime import timedelta
from itertools import pairwise

import cftime
import numpy as np
import pandas as pd
import pytest

from stconv.datasets.source.cycles import cycles, seconds_of_day
from stconv.datasets.source.time_axis import (
    TimeStep,
    advance,
    breaks,
    calendar_of,
    check_increasing,
    follows,
    missing_steps,
    time_step,
)
from stconv.errors import TimeAxisError


def hours(*values):
    return np.datetime64("2013-01-01T00", "ns") + np.array(values, dtype="timedelta64[h]")


def noleap(*days):
    return cftime.num2date(days, "days since 2000-01-01", calendar="noleap")


@pytest.mark.parametrize(
    ("times", "label"),
    [
        (hours(0, 6, 12, 18), "6h"),
        (hours(0, 24, 48), "1d"),
        (hours(0, 7 * 24, 14 * 24), "7d"),
        (
            np.datetime64("2020-01-01", "ns") + np.arange(6) * np.timedelta64(10, "m"),
            "10min",
        ),
        (np.arange("2010-01", "2012-01", dtype="M8[M]").astype("M8[ns]"), "1month"),
        (np.arange("2010-01", "2012-01", np.timedelta64(3, "M"), dtype="M8[M]").astype("M8[ns]"), "3month"),
        (np.arange("2010", "2020", dtype="M8[Y]").astype("M8[ns]"), "1year"),
        (np.array(["2001-07-01", "2001-08-01"], dtype="M8[ns]"), "1month"),
        (noleap(0, 1, 2), "1d"),
        (noleap(0, 365, 730), "1year"),
        (cftime.num2date([0, 30, 60], "days since 2000-01-16", calendar="360_day"), "1month"),
    ],
)
def test_the_step_is_named_as_people_name_it(times, label):
    step = time_step(times)
    assert step.label == label
    assert TimeStep.from_json(step.to_json()) == step
    assert breaks(times, step) == ()
    for earlier, later in pairwise(times):
        assert advance(earlier, step, 1) == later
        assert advance(later, step, -1) == earlier


def test_stamps_in_the_middle_or_at_the_end_of_months_are_monthly():
    middle = np.array(["2007-01-16T12", "2007-02-15T00", "2007-03-16T12", "2007-04-16T00"], dtype="M8[ns]")
    step = time_step(middle)
    assert (step.label, step.anchor) == ("1month", "middle")
    assert [advance(middle[0], step, n) for n in range(4)] == list(middle)
    end = np.array(["2007-01-31", "2007-02-28", "2007-03-31", "2007-04-30"], dtype="M8[ns]")
    step = time_step(end)
    assert step.anchor == "end"
    assert [advance(end[1], step, n) for n in range(-1, 3)] == list(end)


def test_rounded_float_times_keep_their_step():
    times = hours(0, 1, 2, 3) + np.array([0, 137, -80, 40], dtype="timedelta64[us]")
    assert time_step(times).label == "1h"
    assert breaks(times, TimeStep("fixed", seconds=3600)) == ()


def test_gaps_are_breaks_and_do_not_change_the_step():
    times = hours(0, 6, 12, 30, 36, 42, 48)
    step = time_step(times)
    assert step.seconds == 21600
    assert breaks(times, step) == (3,)
    months = np.delete(np.arange("2010-01", "2012-01", dtype="M8[M]"), [5, 6]).astype("M8[ns]")
    assert breaks(months, time_step(months)) == (5,)


def test_a_day_missing_only_in_the_file_is_a_gap_in_the_standard_calendar():
    days = np.arange("2012-02-26", "2012-03-04", dtype="M8[D]")
    without_leap_day = days[days != np.datetime64("2012-02-29")].astype("M8[ns]")
    assert breaks(without_leap_day, time_step(without_leap_day)) == (3,)


def test_advance_keeps_day_and_clock_and_stays_in_short_months():
    assert advance(np.datetime64("2001-01-31T06:00"), TimeStep("month"), 1) == np.datetime64(
        "2001-02-28T06:00"
    )
    assert advance(cftime.DatetimeNoLeap(2000, 12, 31), TimeStep("month", n=2), 1) == cftime.DatetimeNoLeap(
        2001, 2, 28
    )
    assert advance(cftime.Datetime360Day(2000, 2, 30, 12), TimeStep("fixed", seconds=86400), 1) == (
        cftime.Datetime360Day(2000, 3, 1, 12)
    )
    assert advance(np.datetime64("2012-02-29"), TimeStep("year"), 1) == np.datetime64("2013-02-28")


def test_leads_have_labels():
    assert [time_step(hours(0, 6, 12)).times(k).label for k in (1, 2, 4, 5)] == ["6h", "12h", "1d", "30h"]
    assert TimeStep("month").times(3).label == "3month"


def test_cycles_by_hand():
    found = cycles(np.array(["2013-01-01T06:00", "2012-07-01T12:00", "2013-12-31T23:00"], dtype="M8[ns]"))
    expected = [[0.25, 0.25 / 365], [0.5, 182.5 / 366], [23 / 24, (364 + 23 / 24) / 365]]
    np.testing.assert_allclose(found[:, :2], expected, rtol=0, atol=1e-12)
    # A Tuesday, a Sunday and a Tuesday.
    np.testing.assert_allclose(found[:, 2] * 7, [1.25, 6.5, 1 + 23 / 24], rtol=0, atol=1e-12)
    day30 = cycles([cftime.Datetime360Day(2000, 12, 30, 18), cftime.DatetimeNoLeap(2000, 3, 1)])
    np.testing.assert_allclose(day30[:, :2], [[0.75, 359.75 / 360], [0.0, 59 / 365]], rtol=0, atol=1e-12)
    leap = cycles([cftime.datetime(2000, 3, 1, calendar="standard")])
    np.testing.assert_allclose(leap[:, :2], [[0.0, 60 / 366]], rtol=0, atol=1e-12)


def test_calendars_have_names():
    assert calendar_of(hours(0)) == "standard"
    assert calendar_of(noleap(0, 1)) == "noleap"


def test_irregular_steps_are_refused_with_the_steps_seen():
    with pytest.raises(
        TimeAxisError, match=r"a\.nc: expected one time step.*found 6h \(2x.*9h \(1x, first after"
    ):
        time_step(hours(0, 6, 12, 21, 28, 38), "a.nc")


def test_half_steps_are_no_gaps():
    with pytest.raises(TimeAxisError, match="expected one time step"):
        time_step(hours(0, 6, 12, 18, 27, 33))


def test_duplicates_are_named_with_positions():
    with pytest.raises(
        TimeAxisError, match="1 of 3 occur more than once, first 2013-01-01T06:00 at positions 1, 3"
    ):
        check_increasing(hours(0, 6, 12, 6))


def test_falling_times_are_named_with_positions():
    with pytest.raises(TimeAxisError, match="2013-01-01T12:00 at position 1 is followed by 2013-01-01T06:00"):
        check_increasing(hours(0, 12, 6, 18))
    with pytest.raises(TimeAxisError, match="2000-01-06T00:00 at position 1 is followed by"):
        check_increasing(noleap(0, 5, 3))


def test_one_time_has_no_step():
    with pytest.raises(TimeAxisError, match=r"has 1 time\(s\); expected at least 2"):
        time_step(hours(0))


def test_a_step_that_few_differences_have_is_no_step():
    with pytest.raises(TimeAxisError, match=r"found 1h \(1x.*2h \(1x.*3h \(1x.*4h \(1x"):
        time_step(hours(0, 1, 3, 6, 10))


def dekads(year, n, days=(1, 11, 21)):
    texts = [f"{y}-{m:02d}-{d:02d}" for y in range(year, year + 9) for m in range(1, 13) for d in days]
    return np.array(texts[:n], dtype="datetime64[ns]")


PENTADS = (1, 6, 11, 16, 21, 26)


@pytest.mark.parametrize(
    ("times", "label", "coming"),
    [
        (dekads(1981, 240), "1dekad", "1987-09-01"),
        (dekads(1981, 39, (5, 15, 25)), "1dekad", "1982-02-05"),
        (dekads(1981, 100, PENTADS), "1pentad", "1982-05-21"),
        (dekads(1981, 72, PENTADS)[::2], "1dekad", "1982-01-01"),
        (hours(*range(0, 40 * 168, 168)), "7d", "2013-10-08"),
    ],
)
def test_dekads_pentads_and_weeks_are_steps(times, label, coming):
    step = time_step(times)
    assert step.label == label
    assert breaks(times, step) == ()
    np.testing.assert_array_equal(missing_steps(times, step), 0)
    np.testing.assert_array_equal([advance(times[0], step, k) for k in range(times.size)], times)
    assert advance(times[-1], step, 1) == np.datetime64(coming)
    assert breaks(np.delete(times, [5, 6]), step) == (5,)
    assert TimeStep.from_json(step.to_json()) == step


def restarting(days, first="01-01", years=(2003, 2005)):
    """Every so many days from a date of each year, by pandas: 2004 is a leap year."""
    last = int(first[3:]) - 1
    parts = [
        pd.date_range(f"{y}-{first}", pd.Timestamp(f"{y}-12-31") + pd.Timedelta(last, "D"), freq=f"{days}D")
        for y in range(years[0], years[1] + 1)
    ]
    return np.concatenate([part.to_numpy("datetime64[ns]") for part in parts])


def of_the_same_dates(years=(2003, 2005)):
    """The 73 pentads of a year without 29 February, at the same dates in every year."""
    dates = [day.strftime("%m-%d") for day in pd.date_range("2001-01-01", "2001-12-31", freq="5D")]
    return np.array([f"{y}-{d}" for y in range(years[0], years[1] + 1) for d in dates], "datetime64[ns]")


@pytest.mark.parametrize(
    ("times", "label", "coming"),
    [
        (restarting(8), "8d composite", "2006-01-01"),
        (restarting(16), "16d composite", "2006-01-01"),
        (restarting(16, "01-09"), "16d composite", "2006-01-09"),  # the second satellite, 8 days later
        (restarting(4), "4d composite", "2006-01-01"),
        (np.delete(restarting(5), 146), "5d composite", "2006-01-01"),  # the last of 2004 has six days
        (of_the_same_dates(), "1 annual pentad", "2006-01-01"),
        (of_the_same_dates() + np.timedelta64(2, "D"), "1 annual pentad", "2006-01-03"),
    ],
)
def test_composites_and_73_pentads_a_year_are_steps(times, label, coming):
    step = time_step(times)
    assert step.label == label
    assert breaks(times, step) == ()
    np.testing.assert_array_equal([advance(times[0], step, k) for k in range(times.size)], times)
    np.testing.assert_array_equal([advance(times[-1], step, -k) for k in range(times.size)], times[::-1])
    assert advance(times[-1], step, 1) == np.datetime64(coming)
    assert breaks(np.delete(times, [30, 31]), step) == (30,)
    assert missing_steps(np.delete(times, [30, 31]), step)[29] == 2
    assert TimeStep.from_json(step.to_json()) == step
    assert follows(times[-4:], step)
    assert step.approximate_seconds == pytest.approx(86_400 * 365.2425 / (times.size / 3))
    coded = cftime.num2date(
        (times - times[0]).astype("timedelta64[D]").astype(int), f"days since {str(times[0])[:10]}"
    )
    assert time_step(coded) == step
    np.testing.assert_array_equal([advance(coded[0], step, k) for k in range(times.size)], coded)


def test_the_last_composite_of_a_year_is_shorter_at_its_end_and_middle():
    starts = restarting(8)
    lengths = np.diff(np.append(starts, np.datetime64("2006-01-01", "ns")))
    for times, anchor in (
        (starts + lengths - np.timedelta64(1, "D"), "end"),
        (starts + lengths / 2, "middle"),
    ):
        step = time_step(times)
        assert (step.label, step.anchor) == ("8d composite", anchor)
        np.testing.assert_array_equal([advance(times[0], step, k) for k in range(times.size)], times)


def test_years_stamped_in_their_middle():
    starts = np.arange("1999", "2012", dtype="M8[Y]").astype("M8[ns]")
    times = starts[:-1] + np.diff(starts) / 2  # 2 July at 12 h, or at 0 h in leap years
    step = time_step(times)
    assert (step.label, step.anchor) == ("1year", "middle")
    np.testing.assert_array_equal([advance(times[0], step, k) for k in range(times.size)], times)
    assert step.approximate_seconds == 365.2425 * 86_400
    assert time_step(times[::5]).label == "5year"
    assert breaks(np.delete(times, [4, 5]), step) == (4,)


def test_composites_without_leap_years():
    days = [year * 365 + day for year in range(3) for day in range(0, 365, 8)]
    times = noleap(*days)
    step = time_step(times)
    assert step.label == "8d composite"
    np.testing.assert_array_equal([advance(times[0], step, k) for k in range(times.size)], times)
    within = cftime.num2date(range(0, 720, 8), "days since 2000-01-01", calendar="360_day")
    assert time_step(within) == TimeStep("fixed", 8 * 86_400)
    with pytest.raises(TimeAxisError, match="expected one time step"):
        time_step(np.delete(within, slice(1, None, 3)) + timedelta(days=1) * np.arange(60))


def test_dekads_that_end_with_the_month():
    ends = [f"2001-{m:02d}-{d:02d}" for m, last in ((1, 31), (2, 28), (3, 31)) for d in (10, 20, last)]
    times = np.array(ends, dtype="datetime64[ns]")
    step = time_step(times)
    assert (step.label, step.anchor) == ("1dekad", "end")
    np.testing.assert_array_equal([advance(times[0], step, k) for k in range(9)], times)
    coded = [cftime.datetime(2001, int(t[5:7]), int(t[8:]), calendar="noleap") for t in ends]
    assert time_step(coded) == step
    assert [advance(coded[0], step, k) for k in range(9)] == coded


def test_a_few_dekads_follow_a_step_of_dekads():
    step = TimeStep("dekad")
    assert follows(dekads(2001, 3), step)
    assert follows(dekads(2001, 4), step)
    assert not follows(np.array(["2001-01-01", "2001-01-12", "2001-01-21"], dtype="M8[ns]"), step)
    assert not follows(np.array(["2001-01-01", "2001-01-02"], dtype="M8[ns]"), step)


def test_irregular_times_that_nearly_have_a_step_are_offered_to_snap():
    times = hours(0, 6, 12, 18, 24).astype("datetime64[s]") + np.array([0, 1, -1, 0, 2], "timedelta64[s]")
    with pytest.raises(
        TimeAxisError, match=r"nearly regular \(steps of 6h, moved by at most 2 s\).*--snap-times"
    ):
        time_step(times)


def test_seconds_of_the_day_in_both_kinds_of_time():
    stamps = ["2001-02-28T00:00:00.25", "2001-12-31T23:59:59", "2001-06-15T06:30:00"]
    dates = np.array(stamps, dtype="datetime64[ns]")
    same = np.array(
        [cftime.DatetimeNoLeap.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S") for stamp in stamps], dtype=object
    )
    same[0] = same[0].replace(microsecond=250_000)
    assert seconds_of_day(dates).tolist() == [0.25, 86_399, 23_400]
    assert seconds_of_day(same).tolist() == [0.25, 86_399, 23_400]
