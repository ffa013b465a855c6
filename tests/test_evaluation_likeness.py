"""Differences of a test from the period that bands were calibrated on, as numbers and in words."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stconv.datasets.series.store import Series
from stconv.datasets.source.time_axis import TimeStep
from stconv.evaluation.likeness import likeness
from stconv.verification.report.bands import about_bands, differences

TRAIN, VALIDATION, TEST = range(100), range(100, 200), range(200, 300)


def series(values: np.ndarray, breaks: tuple[int, ...] = ()) -> Series:
    """Daily steps from 2021-01-01, one target and one other channel that must not count."""
    other = np.full_like(values, 1e6)
    return Series(
        np.stack([values, other], 1).astype("f4"),
        pd.date_range("2021-01-01", periods=len(values)).values,
        ("t", "other"),
        1,
        {"t": "K", "other": "1"},
        np.arange(3.0),
        np.arange(4.0),
        True,
        TimeStep("fixed", seconds=86_400),
        breaks=breaks,
    )


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = 280 + 20 * rng.normal(size=(3, 4)) + rng.normal(size=(300, 3, 4))
    values[200:] = values[200:] * 2 - values[200:].mean(0) + 5
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:200, 0, 0] = np.nan  # known in the test alone
    return values


def test_level_and_changes_are_those_of_numpy(values):
    found = likeness(series(values), ["t"], TRAIN, VALIDATION, TEST)
    calm, restless = (np.float32(values[steps.start : steps.stop]) for steps in (VALIDATION, TEST))
    cells = np.isfinite(calm).any(0)
    assert not cells[0, 0]
    calm, restless = calm[:, cells].astype("f8"), restless[:, cells].astype("f8")
    shift = np.nanmean(restless, 0) - np.nanmean(calm, 0)
    np.testing.assert_allclose(found["level_shift"], [shift.mean()], rtol=1e-4)
    np.testing.assert_allclose(found["deviation"], [np.sqrt(np.nanvar(calm, 0).mean())], rtol=1e-4)
    for name, period in (("usual_change", calm), ("change", restless)):
        expected = np.sqrt(np.nanmean(np.diff(period, axis=0) ** 2, 0).mean())
        np.testing.assert_allclose(found[name], [expected], rtol=1e-4)


def test_a_change_across_a_gap_in_time_does_not_count():
    values = np.zeros((300, 3, 4))
    values[250:] = 100
    found = likeness(series(values, breaks=(250,)), ["t"], TRAIN, VALIDATION, TEST)
    assert found["change"].item() == 0


def test_every_difference_is_said_in_words(values):
    found = likeness(series(values), ["t"], TRAIN, VALIDATION, TEST).isel(variable=0)
    text = differences(found, "K")
    warmer = likeness(series(values), ["t"], range(250, 300), VALIDATION, TEST).isel(variable=0)
    assert "validation period; training has none of August either; the mean" in differences(warmer, "K")
    assert (
        "August, September and October are not in the validation period, nor in the training period" in text
    )
    assert f"the mean is {float(found['level_shift']):.2f} K higher" in text
    assert f"values change by {float(found['change']):.2f} K from step to step" in text


def test_a_drier_test_is_said():
    values = np.random.default_rng(0).normal(size=(300, 3, 4))
    values[100:140] = 0
    values[200:280] = 0
    found = likeness(series(values), ["t"], TRAIN, VALIDATION, TEST)
    assert (found["usual_zero_share"].item(), found["zero_share"].item()) == pytest.approx((0.4, 0.8))
    assert "80 % of the values are 0 instead of 40 %, and a band" in differences(found.isel(variable=0), "K")


@pytest.mark.parametrize(
    ("inside", "said"), [(0.83, "83.0 % are inside of the adapted ones of 80%"), (0.81, "")]
)
def test_bands_that_zeros_fill_are_explained(inside, said):
    values = np.random.default_rng(0).normal(size=(300, 3, 4)).clip(0)
    found = likeness(series(values), ["t"], TRAIN, VALIDATION, TEST).isel(variable=0)
    sizes = {name: (("lead", "level"), [[1.0, 2.0]]) for name in ("width", "fixed_width")}
    shares = {
        "coverage": (("lead", "level"), [[inside, 0.95]]),
        "fixed_coverage": (("lead", "level"), [[0.8, 0.95]]),
    }
    text = about_bands(found.assign(sizes | shares).assign_coords(level=[0.8, 0.95]), "mm")
    assert ("of the values are 0, and where" in text) == bool(said)
    assert said in text


def test_nothing_is_said_that_does_not_differ():
    rng = np.random.default_rng(0)
    alike = likeness(series(rng.normal(size=(300, 3, 4))), ["t"], TRAIN, VALIDATION, VALIDATION)
    assert differences(alike.isel(variable=0), "K").startswith("Neither season, nor level")


def test_bands_of_the_calibration_that_failed_are_explained(values):
    scores = xr.Dataset(
        {
            "fixed_coverage": (("lead", "level"), [[0.5, 0.7]]),
            "width": (("lead", "level"), [[3.0, 6.0]]),
            "fixed_width": (("lead", "level"), [[2.0, 3.0]]),
        },
        coords={"level": [0.8, 0.95]},
    )
    found = likeness(series(values), ["t"], TRAIN, VALIDATION, TEST).isel(variable=0)
    text = about_bands(scores.merge(found), "K")
    assert text.startswith(
        "Those of the calibration contain 70.0 % instead of 95% of the truth. The test differs"
    )
    assert "October" in text
    assert text.endswith("The adapted ones are 2.00 times as wide on average.")
    assert "held as well: 95.0 %" in about_bands(
        scores.merge(found).assign(fixed_coverage=(("lead", "level"), [[0.8, 0.95]])), "K"
    )
