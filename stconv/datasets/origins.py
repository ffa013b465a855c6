"""Rolling origins in the training and validation periods: what is known before each, and what follows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stconv.datasets.preparation.harmonics import Term, supported_terms
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.series.splits import periods_after_origins
from stconv.errors import DataError

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule


@dataclass(frozen=True)
class Origin:
    """A rolling origin.

    Attributes:
        preparation: Preparation fitted on the steps before the origin alone.
        before: Reference indices of windows whose targets lie before the origin.
        after: Reference indices of windows whose targets lie between this origin and the next one, or the end
            of the validation period; their inputs may lie before it.
    """

    preparation: Preparation
    before: list[int]
    after: list[int]


def rolling_origins(data: GridDataModule) -> Iterator[Origin]:
    """Place origins in the training and validation periods, see `periods_after_origins`.

    The test period is never read. An origin before or after which there is no window is left out, and so is
    one before which a variable has no value. The scaling `anomaly` has only origins whose climatology has the
    terms of that of the training period, if there are any: before the first year is complete a climatology
    has no yearly cycle, and what is better around it says little.

    Args:
        data: Data module after `setup`.

    Source:
        Tashman (2000), International Journal of Forecasting 16, 437-450: rolling-origin evaluation.
    """
    for period in _with_the_terms_of_training(data, periods_after_origins(data.periods.val.stop)):
        origin = period.start
        before = data.windows_within(range(origin), data.window.stride)
        after = data.windows_within(period)
        if not before or not after:
            continue
        try:
            preparation = Preparation.fit(data.series, range(origin), data.settings)
        except DataError:  # all values of a variable lie after the origin
            continue
        yield Origin(preparation, before, after)


def _with_the_terms_of_training(data: GridDataModule, periods: Iterable[range]) -> list[range]:
    periods = list(periods)
    if data.settings.scaling != "anomaly":
        return periods

    def terms(times: slice) -> list[Term]:
        return supported_terms(data.series.cycles[times], data.settings.weekly_cycle)

    of_training = terms(slice(data.periods.train.start, data.periods.train.stop))
    return [period for period in periods if terms(slice(period.start)) == of_training] or periods
