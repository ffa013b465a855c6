"""The report in sentences: the meaning of the errors, the method, and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stconv.contenders import CLIMATOLOGY, DAMPED_PERSISTENCE, LINEAR_3X3, OPTICAL_FLOW, PERSISTENCE
from stconv.verification.report.table import decimals, number, with_units

if TYPE_CHECKING:
    from stconv.verification.scores.result import Verification

EXPLAINED = {
    PERSISTENCE: "a forecast of no change",
    CLIMATOLOGY: "the average for the time of year and day",
    DAMPED_PERSISTENCE: "a decaying departure from the average",
    LINEAR_3X3: "a linear regression on the surroundings of each cell",
    OPTICAL_FLOW: "moving the newest frame along its motion",
}


def summary(verification: Verification) -> list[str]:
    """The errors at the first lead in words, one sentence for each variable."""
    sums, sentences = verification.sums, []
    for i, name in enumerate(sums.variables):
        places = decimals(sums.rmse(sums.model)[i])
        others = [
            f"{EXPLAINED.get(reference, reference)} is off by {number(sums.rmse(reference)[i, 0], places)}"
            for reference in sums.references
        ]
        ours = with_units(number(sums.rmse(sums.model)[i, 0], places), sums.units[name])
        worse = f"; {', '.join(others)}" if others else ""
        what = f"the forecast of {name}" if len(sums.variables) > 1 else "the forecast"
        sentences.append(f"At {verification.labels[0]} {what} is typically off by {ours}{worse}.")
    return sentences


def limits(verification: Verification) -> list[str]:
    """Limits of the test, one sentence each."""
    sums = verification.sums
    found = [
        "The scores hold for the test period. Another period, another grid or another source of data may "
        "give others; a forecast in operation also starts from data that come late or are revised.",
        "Truth is the data set itself, with its own errors.",
        "The references are simple methods, not the best forecasts there are, such as those of a weather "
        "service.",
    ]
    days = _days(verification)
    if days is not None and days < 365:
        found.insert(1, f"The test period has {days:.0f} days: it does not contain every season.")
    for i, name in enumerate(sums.variables):
        left_out = sums.left_out_share()[i]
        if left_out > 0:
            found.append(
                f"{left_out:.2%} of the known values of {name} are not scored: a forecast is missing."
            )
    if "calibration" not in verification.diagnostics:
        found.append("The forecast states no uncertainty, so none is verified.")
    return found


def method(verification: Verification) -> list[str]:
    """The method behind the scores."""
    names = [f"{name}: {EXPLAINED[name]}" for name in verification.sums.references if name in EXPLAINED]
    return [
        f"References: {'; '.join(names)}. They are fitted on the training period alone. All forecasts are "
        "scored on the same windows and cells." if names else "There is no reference.",
        "Errors are summed over all windows and cells, weighted by the area of a cell on a geographic "
        "grid, before any ratio or root is taken. Skill is 1 - RMSE / RMSE of the reference.",
        f"Intervals hold {verification.confidence:.0%}, from {verification.n_resamples} resamples of "
        f"blocks of {verification.block} neighboring windows. A reference counts as beaten where the "
        "interval lies above 0 and a Diebold-Mariano test with the correction of Harvey, Leybourne and "
        "Newbold (1997) agrees.",
        "Before the test the model was shown a window whose future had been replaced by noise: its "
        "forecast has to stay the same. No input may be a copy of a target's future.",
    ]  # fmt: skip


def _days(verification: Verification) -> float | None:
    if not verification.period:
        return None
    try:
        first, last = (np.datetime64(text[:10]) for text in verification.period)
    except ValueError:  # a calendar without NumPy dates
        return None
    return float((last - first) / np.timedelta64(1, "D"))
