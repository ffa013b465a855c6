"""Window arithmetic against a brute-force oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stconv.datasets.series.windows import WindowSpec, forecast_index, reference_indices
from stconv.errors import WindowError

offsets = st.sets(st.integers(-8, -1), max_size=4).map(lambda past: (*sorted(past), 0))
specs = st.builds(WindowSpec, offsets, st.integers(1, 5))


def steps_between(first, last):
    return set(range(first, last + 1))


def is_whole(i, spec, period, breaks):
    """Every step of the window is in the period, and none but the first is a break."""
    used = steps_between(i + spec.input_offsets[0], i + spec.leads)
    return used <= set(period) and not (used - {min(used)}) & set(breaks)


def test_consecutive_window_by_hand():
    spec = WindowSpec.consecutive(t_in=3, leads=2)
    assert spec.input_offsets == (-2, -1, 0)
    assert (spec.t_in, spec.leads, spec.span) == (3, 2, 5)
    assert reference_indices(range(0, 7), spec) == [2, 3, 4]
    assert reference_indices(range(10, 17), spec, stride=2) == [12, 14]


def test_break_cuts_windows_by_hand():
    spec = WindowSpec.consecutive(t_in=2, leads=1)
    assert reference_indices(range(0, 8), spec, breaks=(4,)) == [1, 2, 5, 6]


@given(specs, st.integers(0, 10), st.integers(0, 40), st.sets(st.integers(1, 50), max_size=4))
def test_reference_indices_are_all_whole_windows_and_no_other(spec, start, length, breaks):
    period = range(start, start + length)
    expected = [i for i in range(-20, 80) if is_whole(i, spec, period, breaks)]
    assert reference_indices(period, spec, tuple(breaks)) == expected


@given(specs, st.integers(0, 30), st.sets(st.integers(1, 30), max_size=3))
def test_forecast_index_is_the_newest_with_all_inputs(spec, n_steps, breaks):
    def has_inputs(i):
        used = steps_between(i + spec.input_offsets[0], i)
        return used <= set(range(n_steps)) and not (used - {min(used)}) & breaks

    candidates = [i for i in range(n_steps) if has_inputs(i)]
    if candidates:
        assert forecast_index(n_steps, spec, tuple(breaks)) == candidates[-1]
    else:
        with pytest.raises(WindowError, match="a forecast needs"):
            forecast_index(n_steps, spec, tuple(breaks))


@pytest.mark.parametrize(
    ("input_offsets", "leads", "message"),
    [
        ((), 1, "must end at 0"),
        ((-2, -1), 1, "must end at 0"),
        ((-1, -2, 0), 1, "strictly ascending"),
        ((-1, -1, 0), 1, "strictly ascending"),
        ((-1, 0), 0, "leads is 0; expected 1 or more"),
    ],
)
def test_impossible_specs_are_refused(input_offsets, leads, message):
    with pytest.raises(WindowError, match=message):
        WindowSpec(input_offsets, leads)


def test_impossible_numbers_are_refused():
    with pytest.raises(WindowError, match="t_in is 0"):
        WindowSpec.consecutive(0, 1)
    with pytest.raises(WindowError, match="stride is 0"):
        reference_indices(range(9), WindowSpec.consecutive(1, 1), stride=0)


def test_too_few_steps_names_what_is_needed_and_found():
    with pytest.raises(WindowError, match=r"needs 5 steps without a gap .* found 4 steps"):
        forecast_index(4, WindowSpec.consecutive(5, 1))
    with pytest.raises(WindowError, match=r"gaps before the steps \[3\]"):
        forecast_index(6, WindowSpec.consecutive(4, 1), breaks=(3,))


def test_inputs_may_reach_back_before_the_period_by_hand():
    spec = WindowSpec((-3, -1, 0), leads=2)
    assert reference_indices(range(10, 14), spec, first_input=0) == [9, 10, 11]
    assert reference_indices(range(10, 14), spec, first_input=8) == [11]
    assert reference_indices(range(10, 14), spec) == []
    assert reference_indices(range(2, 7), spec, first_input=0) == [3, 4]


@given(
    specs, st.integers(0, 12), st.integers(0, 30), st.integers(0, 12), st.sets(st.integers(1, 45), max_size=4)
)
def test_targets_inside_inputs_not_before_first_input(spec, start, length, first_input, breaks):
    """Brute force: the targets lie in the period, no input is before `first_input`, no break between."""
    period = range(start, start + length)
    first_input = min(first_input, start)

    def is_good(i):
        used = steps_between(i + spec.input_offsets[0], i + spec.leads)
        targets = steps_between(i + 1, i + spec.leads)
        whole = not (used - {min(used)}) & set(breaks)
        return targets <= set(period) and min(used) >= first_input and whole

    expected = [i for i in range(-20, 80) if is_good(i)]
    assert reference_indices(period, spec, tuple(breaks), first_input=first_input) == expected
