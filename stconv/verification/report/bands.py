"""The bands of a test in words: how far those of the calibration were off, and what differs in the test."""

from __future__ import annotations

import calendar
from collections.abc import Sequence

import numpy as np
import xarray as xr

from stconv.verification.report.table import decimals, number, with_units
from stconv.verification.scores.labels import enumerate_words

ADAPTED = (
    "The bands of each forecast are widened or narrowed by how often earlier ones held, as far as their "
    "truth was known when it was made, as in the service. "
)
HELD = 2
"""Points of coverage by which bands of the calibration may be off and still count as held."""
SHIFTED = 0.5
"""Shift of the level that is worth a word, in standard deviations."""
RESTLESS = 1.1
"""Factor between the changes per step of two periods that is worth a word."""
DRIER = 0.05
"""Difference between the shares of zeros of two periods that is worth a word."""


def about_bands(ds: xr.Dataset, units: str) -> str:
    """Say how far the bands of the calibration were off, why, and how the others differ from them.

    Args:
        ds: Scores of one variable, from `Assessment`.
        units: Units of the variable.
    """
    level = float(ds["level"].max())
    fixed = 100 * float(ds["fixed_coverage"].sel(level=level).mean())
    wider = float((ds["width"] / ds["fixed_width"]).sel(level=level).mean())
    if not np.isfinite(fixed):
        return ""
    if abs(100 * level - fixed) < HELD:
        return (
            f"Those of the calibration held as well: {fixed:.1f} % inside of those of {level:.0%}.{_full(ds)}"
        )
    return (
        f"Those of the calibration contain {fixed:.1f} % instead of {level:.0%} of the truth. "
        f"{differences(ds, units)} The adapted ones are {wider:.2f} times as wide on average.{_full(ds)}"
    )


def _full(ds: xr.Dataset) -> str:
    """Say why adapted bands contain too much of a variable that is often 0."""
    if "coverage" not in ds or "zero_share" not in ds:
        return ""
    held = 100 * ds["coverage"].mean("lead")
    said = [
        f"{float(held.sel(level=level)):.1f} % are inside of the adapted ones of {level:.0%}"
        for level in ds["level"].values
        if float(held.sel(level=level)) - 100 * level >= HELD and float(ds["zero_share"]) >= 1 - level
    ]
    if not said:
        return ""
    return (
        f" {enumerate_words(said)}: {100 * float(ds['zero_share']):.0f} % of the values are 0, and where and "
        "when there are even more, a band that contains 0 cannot be narrow enough to hold less."
    )


def differences(ds: xr.Dataset, units: str) -> str:
    """Say what differs between the test and the validation period: season, level, how much values change."""
    if "level_shift" not in ds:  # a result of an earlier version
        return "The test differs from the validation period, by its season, its level, or how much varies."
    found = [_season(ds["month_share"]), _level(ds, units), _change(ds, units), _zeros(ds)]
    reasons = [reason for reason in found if reason]
    if not reasons:
        return (
            "Neither season, nor level, nor the change from step to step is much different in the test: the "
            "forecast errs more or less than in the validation period."
        )
    return f"The test differs from the validation period on which they were calibrated: {'; '.join(reasons)}."


def _season(share: xr.DataArray) -> str:
    here, usual, trained = (share.sel(period=period) > 0 for period in ("scored", "val", "train"))
    new = [int(month) for month in share["month"].values[(here & ~usual).values]]
    if not new:
        return ""
    unseen = [month for month in new if not bool(trained.sel(month=month))]
    training = ", nor in the training period" if unseen == new else ""
    if unseen and unseen != new:
        training = f"; training has none of {_names(unseen)} either"
    return f"{_names(new)} {'is' if len(new) == 1 else 'are'} not in the validation period{training}"


def _names(months: Sequence[int]) -> str:
    return enumerate_words([calendar.month_name[month] for month in months])


def _level(ds: xr.Dataset, units: str) -> str:
    shift, deviation = float(ds["level_shift"]), float(ds["deviation"])
    if not abs(shift) > SHIFTED * deviation:
        return ""
    amount = with_units(number(abs(shift), decimals(np.array([deviation]))), units)
    return (
        f"the mean is {amount} {'higher' if shift > 0 else 'lower'}, {abs(shift) / deviation:.1f} standard "
        "deviations in time"
    )


def _change(ds: xr.Dataset, units: str) -> str:
    change, usual = float(ds["change"]), float(ds["usual_change"])
    if not (change > RESTLESS * usual or usual > RESTLESS * change):
        return ""
    places = decimals(np.array([change, usual]))
    return (
        f"values change by {with_units(number(change, places), units)} from step to step (root mean square) "
        f"instead of {number(usual, places)}"
    )


def _zeros(ds: xr.Dataset) -> str:
    here, usual = float(ds["zero_share"]), float(ds["usual_zero_share"])
    if not abs(here - usual) > DRIER:
        return ""
    why = ", and a band that contains 0 contains all of these" if here > usual else ""
    return f"{100 * here:.0f} % of the values are 0 instead of {100 * usual:.0f} %{why}"
