"""Periods: no frame in two of them, dates in any calendar, refusals."""

import cftime
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stconv.datasets.series.splits import Periods, SplitSpec, split_by_date, split_by_fraction
from stconv.datasets.series.windows import WindowSpec, reference_indices
from stconv.datasets.source.time_axis import iso
from stconv.errors import SplitError

DAYS = np.datetime64("2013-12-30T00") + np.arange(60) * np.timedelta64(12, "h")


def test_fractions_by_hand():
    periods = split_by_fraction(100, (0.6, 0.2, 0.2), purge=10)
    assert periods == Periods(range(0, 50), range(60, 70), range(80, 100))
    assert periods.to_json() == {"train": [0, 50], "val": [60, 70], "test": [80, 100]}


def test_purge_leaves_the_test_period_as_it_is():
    periods = {split_by_fraction(200, purge=purge).test for purge in (0, 5, 20)}
    assert periods == {range(160, 200)}


@given(
    st.integers(30, 300),
    st.integers(5, 80),
    st.integers(5, 15),
    st.integers(0, 12),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sets(st.integers(1, 299), max_size=3),
)
def test_no_frame_belongs_to_two_splits(n_steps, train, val, purge, t_in, leads, breaks):
    fractions = (train / 100, val / 100, 1 - train / 100 - val / 100)
    spec = WindowSpec.consecutive(t_in, leads)
    try:
        periods = split_by_fraction(n_steps, fractions, purge)
    except SplitError:
        assume(False)
    frames = {}
    for name, period in periods.items():
        references = reference_indices(period, spec, tuple(breaks))
        frames[name] = {i + k for i in references for k in range(1 - t_in, leads + 1)}
    assert not frames["train"] & frames["val"]
    assert not frames["val"] & frames["test"]
    assert not frames["train"] & frames["test"]
    if frames["train"] and frames["val"]:
        assert min(frames["val"]) - max(frames["train"]) > purge
    if frames["val"] and frames["test"]:
        assert min(frames["test"]) - max(frames["val"]) > purge


def test_a_cut_date_is_a_whole_year_or_day():
    periods = split_by_date(DAYS, "2013", "2014-01-20", purge=0)
    assert periods == Periods(range(0, 4), range(4, 44), range(44, 60))
    assert str(DAYS[periods.test.start]) == "2014-01-21T00"


def test_dates_in_a_calendar_of_360_days():
    times = [
        cftime.datetime(2000, month, day, calendar="360_day") for month in (1, 2, 3) for day in range(1, 31)
    ]
    periods = split_by_date(times, "2000-01-30", "2000-02-30", purge=5)
    assert periods == Periods(range(0, 25), range(30, 55), range(60, 90))


def test_spec_purges_a_window_unless_told():
    assert SplitSpec().apply(range(100), span=7).train == range(0, 53)
    assert SplitSpec(purge=0).apply(range(100), span=7).train == range(0, 60)
    by_date = SplitSpec(train_end="2013", val_end="2014-01-20", purge=1).apply(DAYS, span=7)
    assert by_date == Periods(range(0, 3), range(4, 43), range(44, 60))


def test_the_test_may_end_before_the_series_does():
    spec = SplitSpec(train_end="2013", val_end="2014-01-20", test_end="2014-01-25", purge=1)
    assert spec.apply(DAYS, span=7) == Periods(range(0, 3), range(4, 43), range(44, 54))
    whole = SplitSpec(train_end="2013", val_end="2014-01-20", test_end="2014-02", purge=1).apply(DAYS, span=7)
    assert whole.test.stop == len(DAYS)
    with pytest.raises(SplitError, match="test_end 2014-01-10 must be after val_end 2014-01-20"):
        SplitSpec(train_end="2013", val_end="2014-01-20", test_end="2014-01-10").apply(DAYS, span=7)
    with pytest.raises(SplitError, match="give both dates, or neither; test_end goes with them"):
        SplitSpec(test_end="2014-02-10").apply(DAYS, span=7)


def test_iso_of_any_time():
    assert iso(np.datetime64("2014-03-01T06", "ns")) == "2014-03-01T06:00:00"
    assert iso(cftime.datetime(2014, 2, 30, 6, calendar="360_day")) == "2014-02-30T06:00:00"


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.5, 0.5), "must be three positive fractions"),
        ((0.6, 0.2, 0.3), "must be three positive fractions"),
        ((0.8, 0.2, 0.0), "must be three positive fractions"),
    ],
)
def test_wrong_fractions_are_refused(fractions, message):
    with pytest.raises(SplitError, match=message):
        split_by_fraction(100, fractions)


def test_empty_period_is_refused_by_name():
    with pytest.raises(SplitError, match=r"the val period is empty: steps 30 to 30 .* smaller purge"):
        split_by_fraction(50, (0.6, 0.2, 0.2), purge=10)
    with pytest.raises(SplitError, match="purge is -1"):
        split_by_fraction(50, purge=-1)


def test_overlapping_periods_are_refused():
    with pytest.raises(SplitError, match="overlap"):
        Periods(range(0, 10), range(9, 20), range(20, 30))


@pytest.mark.parametrize(
    ("train_end", "val_end", "message"),
    [
        ("2013", "2012", "must be after train_end"),
        ("01/02/2013", "2014", "train_end '01/02/2013' is not a date"),
        ("2010", "2014-01-20", "train_end 2010 is before the first step of the series, which has 2013-12-30"),
        ("2013", "2016", "val_end 2016 is not before the last step"),
    ],
)
def test_wrong_dates_are_refused(train_end, val_end, message):
    with pytest.raises(SplitError, match=message):
        split_by_date(DAYS, train_end, val_end)


def test_one_date_alone_is_refused():
    with pytest.raises(SplitError, match="give both dates, or neither"):
        SplitSpec(train_end="2013").apply(DAYS, span=5)


def test_rolling_folds_by_hand():
    folds = [
        SplitSpec([0.6, 0.2, 0.2], folds=3, fold=k, purge=5).apply(range(100), span=9) for k in (1, 2, 3)
    ]
    assert folds == [
        Periods(range(0, 15), range(20, 35), range(40, 60)),
        Periods(range(0, 35), range(40, 55), range(60, 80)),
        Periods(range(0, 55), range(60, 75), range(80, 100)),
    ]
    assert folds[-1] == split_by_fraction(100, (0.6, 0.2, 0.2), purge=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 4}, r"fold 1 of 4 leaves no training period: validation would begin at step 0 "),
        ({"folds": 3, "fold": 4}, "fold is 4 of 3 folds; expected 1 to 3"),
        ({"folds": 3, "train_end": "2013", "val_end": "2014"}, "folds and dates; give one"),
        ({"folds": 3, "last_steps": [5, 5]}, "folds and last_steps; give one"),
        ({"last_steps": [5]}, r"last_steps \[5\] must be two positive numbers of steps"),
        ({"last_steps": [0, 5]}, "must be two positive numbers"),
        ({"last_steps": [40, 20]}, "leave no training period: the series has 60 steps"),
    ],
)
def test_impossible_folds_are_refused(options, message):
    with pytest.raises(SplitError, match=message):
        SplitSpec(**options).apply(DAYS, span=2)


def test_steps_counted_from_the_end():
    """The published split of BikeNYC: 864 hours of test, the 431 before for validation."""
    split = SplitSpec(last_steps=[431, 864], purge=0)
    assert split.apply(range(4392), span=75) == Periods(range(0, 3097), range(3097, 3528), range(3528, 4392))
    purged = SplitSpec(last_steps=[431, 864]).apply(range(4392), span=75)
    assert purged == Periods(range(0, 3022), range(3097, 3453), range(3528, 4392))


@given(
    st.integers(60, 300),
    st.sets(st.integers(-9, -1), max_size=4).map(lambda past: (*sorted(past), 0)),
    st.integers(1, 5),
)
def test_every_step_of_the_test_period_is_forecast_from_untrained_frames(n_steps, offsets, leads):
    """With the default purge the inputs of the first windows reach into the gap, never past it."""
    spec, split = WindowSpec(offsets, leads), SplitSpec()
    periods = split.apply(range(n_steps), spec.span) if n_steps > 5 * (spec.span + leads) + 5 else None
    assume(periods is not None)
    frames, targets = {}, {}
    for name, period in periods.items():
        references = reference_indices(period, spec, first_input=split.first_input(name, period))
        frames[name] = {i + k for i in references for k in (*offsets, *range(1, leads + 1))}
        targets[name] = {i + k for i in references for k in range(1, leads + 1)}
        assert targets[name] <= set(period)
    assert targets["val"] == set(periods.val)
    assert targets["test"] == set(periods.test)
    assert not frames["train"] & frames["val"]
    assert not frames["val"] & frames["test"]


def test_windows_wholly_inside_on_request():
    split = SplitSpec(inputs_before=False)
    periods = split.apply(range(100), span=7)
    assert [split.first_input(name, period) for name, period in periods.items()] == [0, 60, 80]
    assert [SplitSpec().first_input(name, period) for name, period in periods.items()] == [0, 0, 0]
