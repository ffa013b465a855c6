"""Training, validation and test periods: consecutive in time, with a purge gap between them.

The purge gap is taken from the end of the earlier period, so that validation and test begin exactly where the
fractions, dates or numbers of steps say. The inputs of their first windows reach back into the gap: each step
of the test period is forecast, and experiments with other window lengths are verified on the same steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from stconv.datasets.source.time_axis import iso
from stconv.errors import SplitError

ORIGINS = 4
"""Number of rolling origins."""
FIRST_ORIGIN = 0.6
"""Position of the first origin, as a share of the training and validation periods together."""
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2}([T ]\d{2}(:\d{2}(:\d{2})?)?)?)?)?")


@dataclass(frozen=True)
class SplitSpec:
    """Settings of a split in time.

    Args:
        fractions: Fractions of training, validation and test, which add up to 1. Used if no dates are given.
        train_end: Last date of training, inclusive ("2013", "2014-03", "2014-03-14", "2014-03-14T06:00").
        val_end: Last date of validation, inclusive; the rest is for testing.
        test_end: Last date of the test, inclusive, with the two dates above; later steps are not used.
        last_steps: Number of steps of validation and of test, counted from the end of the series, as in [431,
            864]; all earlier steps are for training.
        purge: Number of steps left out at the end of training and of validation; default: the length of a
            window. With 0 the targets of neighboring periods are adjacent, as in many published protocols.
        inputs_before: Whether the inputs of validation and test windows may lie before their period (targets
            never do), since the past is known when a forecast is made. With the default purge they reach only
            into the purge gap. Otherwise windows lie entirely inside, and the first steps of a period are
            never forecast.
        folds: Number of folds with a rolling origin, instead of one split: the test periods have the test
            fraction and follow one another up to the end; the validation fraction comes before each, and all
            earlier steps are for training. With folds=3 and fractions [0.6, 0.2, 0.2] training begins with 20
            %.
        fold: Number of the fold, 1 to folds.
        refit_steps: Number of steps from the first on that are all for training, with neither validation nor
            test: a verified experiment is trained once more (`stconv refit`).

    Raises:
        SplitError: Two kinds of split are given, or only one of the two dates, or an invalid number or date.
    """

    fractions: list[float] = field(default_factory=lambda: [0.6, 0.2, 0.2])
    train_end: str | None = None
    val_end: str | None = None
    test_end: str | None = None
    last_steps: list[int] | None = None
    purge: int | None = None
    inputs_before: bool = True
    folds: int | None = None
    fold: int = 1
    refit_steps: int | None = None

    def __post_init__(self) -> None:
        dates = any(end is not None for end in (self.train_end, self.val_end, self.test_end))
        ways = {"folds": self.folds is not None, "dates": dates, "last_steps": self.last_steps is not None}
        if sum(ways.values()) > 1:
            given = " and ".join(name for name, is_given in ways.items() if is_given)
            raise SplitError(f"split has {given}; give one or the other.")
        _check_purge(self.purge or 0)
        if self.refit_steps is not None and self.refit_steps < 1:
            raise SplitError(f"refit_steps is {self.refit_steps}; expected 1 or more steps to train on.")
        if self.last_steps is not None:
            _check_last_steps(self.last_steps)
        elif dates:
            if self.train_end is None or self.val_end is None:
                raise SplitError(
                    f"split has train_end={self.train_end!r} and val_end={self.val_end!r}; give both "
                    "dates, or neither; test_end goes with them."
                )
            _check_dates(self.train_end, self.val_end, self.test_end)
        else:
            _check_fractions(self.fractions)
            if self.folds is not None:
                _check_fold(self.folds, self.fold)

    def apply(self, times: Iterable[Any], span: int) -> Periods:
        """Split these times, for windows of `span` steps.

        Raises:
            SplitError: A date is not in the series, or a period would be empty.
        """
        purge = span if self.purge is None else self.purge
        if self.refit_steps is not None:
            return Periods.for_refit(len(list(times)), self.refit_steps)
        if self.folds is not None:
            return split_by_fold(len(list(times)), self.folds, self.fold, self.fractions, purge)
        if self.last_steps is not None:
            return split_by_last_steps(len(list(times)), self.last_steps, purge)
        if self.train_end is not None and self.val_end is not None:
            return split_by_date(times, self.train_end, self.val_end, purge, self.test_end)
        return split_by_fraction(len(list(times)), self.fractions, purge)

    def first_input(self, name: str, period: range) -> int:
        """First step that the inputs of a period's windows may use; `name` is train, val or test."""
        return 0 if self.inputs_before and name != "train" else period.start


@dataclass(frozen=True)
class Periods:
    """Index ranges of training, validation and test; ascending, disjoint, none empty.

    Attributes:
        train: Training period.
        val: Validation period.
        test: Test period.
        refit: Whether there is a training period alone; the other two are empty.
    """

    train: range
    val: range
    test: range
    refit: bool = False

    @classmethod
    def for_refit(cls, n_steps: int, refit_steps: int) -> Periods:
        """Give the first steps to training, and none to validation and test.

        Raises:
            SplitError: There are fewer steps.
        """
        if refit_steps > n_steps:
            raise SplitError(
                f"refit_steps is {refit_steps}, and the series has {n_steps} steps. Give all files that the "
                "refit was trained on."
            )
        empty = range(refit_steps, refit_steps)
        return cls(range(refit_steps), empty, empty, refit=True)

    def __post_init__(self) -> None:
        for name, period in self.items():
            if len(period) == 0:
                raise SplitError(
                    f"the {name} period is empty: steps {period.start} to {period.stop} (end not "
                    "included) after the purge gap. Use a larger fraction, a longer series, or a smaller "
                    "purge."
                )
        if not (self.train.stop <= self.val.start and self.val.stop <= self.test.start):
            raise SplitError(f"periods overlap or are out of order: {self.to_json()}.")

    def items(self) -> list[tuple[str, range]]:
        """The periods with their names, in order: all three, or that of training alone in a refit."""
        if self.refit:
            return [("train", self.train)]
        return [("train", self.train), ("val", self.val), ("test", self.test)]

    def to_json(self) -> dict[str, list[int]]:
        """First step and end (not included) of each period."""
        return {name: [period.start, period.stop] for name, period in self.items()}


def split_by_fraction(n_steps: int, fractions: Sequence[float] = (0.6, 0.2, 0.2), purge: int = 0) -> Periods:
    """Split by fractions of the steps.

    Args:
        n_steps: Steps in the series.
        fractions: Fractions of training, validation and test.
        purge: Number of steps left out at the end of training and of validation.

    Raises:
        SplitError: The fractions are not positive or do not add up to 1, purge is negative, or a period is
            empty.
    """
    _check_fractions(fractions)
    return _periods(
        n_steps, round(n_steps * fractions[0]), round(n_steps * (fractions[0] + fractions[1])), purge
    )


def split_by_last_steps(n_steps: int, last_steps: Sequence[int], purge: int = 0) -> Periods:
    """Split by the number of steps of validation and test, counted from the end.

    Args:
        n_steps: Steps in the series.
        last_steps: Number of steps of validation and of test.
        purge: Number of steps left out at the end of training and of validation.

    Raises:
        SplitError: The numbers are not positive or exceed the series, or a period is empty.
    """
    _check_last_steps(last_steps)
    if sum(last_steps) >= n_steps:
        raise SplitError(
            f"last_steps {list(last_steps)} leave no training period: the series has {n_steps} steps. Use "
            "fewer steps for validation and test, or a longer series."
        )
    return _periods(n_steps, n_steps - sum(last_steps), n_steps - last_steps[1], purge)


def split_by_fold(
    n_steps: int, folds: int, fold: int, fractions: Sequence[float] = (0.6, 0.2, 0.2), purge: int = 0
) -> Periods:
    """One of several splits whose test periods follow one another, each trained on what came before.

    Args:
        n_steps: Steps in the series.
        folds: Number of folds; the last one tests on the end of the series.
        fold: Number of the fold, 1 to folds.
        fractions: Fractions of training (in a single split), validation and test.
        purge: Number of steps left out at the end of training and of validation.

    Raises:
        SplitError: The fold does not exist, the fractions are invalid, or the first fold has no training
            period.
    """
    _check_fractions(fractions)
    _check_fold(folds, fold)
    test_end = round(n_steps * (1 - (folds - fold) * fractions[2]))
    test_start = round(n_steps * (1 - (folds - fold + 1) * fractions[2]))
    val_start = test_start - round(n_steps * fractions[1])
    if val_start <= purge:
        raise SplitError(
            f"fold {fold} of {folds} leaves no training period: validation would begin at step "
            f"{val_start} and the purge gap takes {purge}. Use fewer folds, or a test fraction below "
            f"{fractions[2]}."
        )
    return _periods(test_end, val_start, test_start, purge)


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or any(share <= 0 for share in fractions) or not math.isclose(sum(fractions), 1.0):
        raise SplitError(
            f"split fractions {list(fractions)} must be three positive fractions (training, validation, "
            "test) that add up to 1, as in [0.6, 0.2, 0.2]."
        )


def _check_last_steps(last_steps: Sequence[int]) -> None:
    if len(last_steps) != 2 or min(last_steps) < 1:
        raise SplitError(
            f"last_steps {list(last_steps)} must be two positive numbers of steps, of validation and of "
            "test, as in [431, 864]."
        )


def _check_fold(folds: int, fold: int) -> None:
    if not 1 <= fold <= folds:
        raise SplitError(f"fold is {fold} of {folds} folds; expected 1 to {folds}.")


def _check_purge(purge: int) -> None:
    if purge < 0:
        raise SplitError(f"purge is {purge}; expected 0 or more steps.")


def _check_dates(train_end: str, val_end: str, test_end: str | None) -> dict[str, str]:
    """Return the dates by name, after checking their form and order."""
    dates = {"train_end": train_end, "val_end": val_end}
    if test_end is not None:
        dates["test_end"] = test_end
    for name, date in dates.items():
        if not _DATE.fullmatch(date):
            raise SplitError(
                f"{name} {date!r} is not a date; write it as in 2014, 2014-03, 2014-03-14 or "
                "2014-03-14T06:00."
            )
    for (earlier, first), (later, second) in pairwise(dates.items()):
        if second <= first:
            raise SplitError(f"{later} {second} must be after {earlier} {first}.")
    return dates


def split_by_date(
    times: Iterable[Any], train_end: str, val_end: str, purge: int = 0, test_end: str | None = None
) -> Periods:
    """Split by the last dates of training and of validation, inclusive.

    A date may be shortened: "2014-03" means all of March. Times are compared as ISO 8601 text, so any
    calendar works.

    Args:
        times: Increasing times, numpy.datetime64 or cftime.
        train_end: Last date of training.
        val_end: Last date of validation.
        purge: Number of steps left out at the end of training and of validation.
        test_end: Last date of test; default: the end of the series.

    Raises:
        SplitError: A date is malformed or out of order, or a period would be empty.
    """
    dates = _check_dates(train_end, val_end, test_end)
    texts = [iso(time) for time in times]
    ends = []
    for name, date in dates.items():
        text = date.replace(" ", "T")
        end = sum(stamp[: len(text)] <= text for stamp in texts)
        if end == 0 or (end == len(texts) and name != "test_end"):
            where = "before the first" if end == 0 else "not before the last"
            raise SplitError(
                f"{name} {date} is {where} step of the series, which has {texts[0]} to {texts[-1]}."
            )
        ends.append(end)
    return _periods(ends[2] if test_end else len(texts), ends[0], ends[1], purge)


def _periods(n_steps: int, train_end: int, val_end: int, purge: int) -> Periods:
    _check_purge(purge)
    return Periods(
        train=range(0, max(0, train_end - purge)),
        val=range(train_end, max(train_end, val_end - purge)),
        test=range(val_end, n_steps),
    )


def periods_after_origins(n_known: int) -> list[range]:
    """Place rolling origins evenly between `FIRST_ORIGIN` and the end of the known steps.

    Args:
        n_known: Number of steps before the test period.

    Returns:
        For each origin, the steps from it to the next one.
    """
    ends = [round(n_known * (FIRST_ORIGIN + (1 - FIRST_ORIGIN) * i / ORIGINS)) for i in range(ORIGINS + 1)]
    return [range(origin, following) for origin, following in pairwise(ends)]
