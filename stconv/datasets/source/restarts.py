"""The times at which an accumulation restarts from zero, and the check that the values do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stconv.clock import DAY, HOUR, MINUTE, TIME_UNITS, duration
from stconv.datasets.source.cycles import seconds_of_day
from stconv.datasets.source.time_axis import TimeStep, breaks
from stconv.dims import TIME
from stconv.errors import ConfigError, VariableError

_STATED = re.compile(r"(\d+)\s*(min|h|d)(?:\s+from\s+(\d{1,2}):(\d{2}))?")
PERIODS = tuple(HOUR.seconds * n for n in (24, 12, 6, 3))
"""Usual times between the starts of forecasts, in seconds, the longest first."""
UNITS_OF_ACCUMULATIONS = ("m", "mm", "cm", "kg m-2", "kg m**-2", "J m-2", "J m**-2", "m of water equivalent")
"""Units of variables that forecasts accumulate."""
SHORTEST = 2 * DAY.seconds
"""Length of a part, and of the shortest series in which restarts are looked for."""
SAMPLES = 3
"""Number of parts of the series in which restarts are looked for."""
SHARE = 0.02
"""Fraction of the amounts that may be lost to rounding: packed accumulations fall slightly."""


@dataclass(frozen=True)
class Restarts:
    """Regular starts of forecasts.

    Attributes:
        period: Time from one start to the next in seconds, a fraction of a day.
        start: First start of a day, in seconds after midnight.
    """

    period: int
    start: int = 0

    @classmethod
    def read(cls, name: str, text: str) -> Restarts:
        """Read a setting such as ``1d`` or ``12h from 06:00``.

        Args:
            name: Variable, for messages.
            text: The setting.

        Raises:
            ConfigError: The text is not of this form, or the period does not divide a day.
        """
        match = _STATED.fullmatch(text.strip())
        units = {unit.symbol: unit.seconds for unit in TIME_UNITS}
        period = int(match[1]) * units[match[2]] if match else 0
        if match is None or period < 1 or DAY.seconds % period:
            raise ConfigError(
                f"accumulated: {{{name}: {text!r}}} is not understood; expected the time from one forecast "
                "start to the next, a fraction of a day such as 1d, 12h or 6h, and the first start if it is "
                "not midnight, as in '12h from 06:00'."
            )
        clock = int(match[3] or 0) * HOUR.seconds + int(match[4] or 0) * MINUTE.seconds
        return cls(period, clock % period)

    @property
    def text(self) -> str:
        """The setting, as `read` reads it."""
        hours, rest = divmod(self.start, HOUR.seconds)
        clock = f" from {hours:02d}:{rest // MINUTE.seconds:02d}" if self.start else ""
        return duration(self.period) + clock

    def first_steps(self, times: np.ndarray, step_seconds: int) -> np.ndarray:
        """Whether each time is the first step after a start, bool, (n,)."""
        clock = np.rint(seconds_of_day(times)).astype(np.int64)
        return np.asarray((clock - self.start - step_seconds) % self.period == 0)


@dataclass(frozen=True)
class _Changes:
    """Sums over cells of a non-negative variable, by step: (n,).

    Attributes:
        times: The steps, each of which has the step before.
        before: Value at the step before.
        fall: Decrease since then.
        rise: Increase since then.
    """

    times: np.ndarray
    before: np.ndarray
    fall: np.ndarray
    rise: np.ndarray

    def agree(self, restarts: Restarts, step_seconds: int) -> bool:
        """Whether the values fall at each time of day at which they restart, and nowhere else."""
        first = restarts.first_steps(self.times, step_seconds)
        allowed = SHARE * (self.rise.sum() + self.before.sum())
        if self.fall[~first].sum() > allowed:
            return False
        clock = np.rint(seconds_of_day(self.times)).astype(np.int64)
        for time_of_day in np.unique(clock[first]):
            here = first & (clock == time_of_day)
            if self.before[here].sum() > allowed and self.fall[here].sum() < SHARE * self.before[here].sum():
                return False
        return True


def check_restarts(
    field: xr.DataArray, times: np.ndarray, step: TimeStep, restarts: Restarts, source: str
) -> None:
    """Refuse restarts that the values contradict; some days of the series are read.

    Values of either sign (a heat flux) can fall at any time and are not checked, nor are a few steps, which
    may hold no rain at all.

    Raises:
        VariableError: The values restart at other times; the message says at which, if that can be told.
    """
    if step.seconds == restarts.period or times.size * step.seconds < SHORTEST:
        return
    found = _changes(field, times, step)
    if found is None or found.agree(restarts, step.seconds):
        return
    others = [other for other in _usual(step.seconds) if found.agree(other, step.seconds)]
    if others:
        remedy = (
            f"The values restart every {others[0].text}: state `accumulated: {{{field.name}: "
            f"{others[0].text}}}`."
        )
    else:
        remedy = (
            "The values restart at no regular times, or are amounts per step already: leave the variable out "
            "of `accumulated`, or convert the file first."
        )
    raise VariableError(
        f"{source}: `accumulated` states that '{field.name}' restarts from zero every {restarts.text}; found "
        f"other times at which it falls, or no fall at these. {remedy}"
    )


def likely_restarts(field: xr.DataArray, times: np.ndarray, step: TimeStep) -> Restarts | None:
    """Tell from the values how an accumulation restarts; None if it does not look like one.

    Args:
        field: Canonical values.
        times: Its times, (n,).
        step: Its time step.
    """
    if step.kind != "fixed" or DAY.seconds % step.seconds or times.size * step.seconds < SHORTEST:
        return None
    found = _changes(field, times, step)
    if found is None or not found.fall.any():
        return None
    return next((each for each in _usual(step.seconds) if found.agree(each, step.seconds)), None)


def _usual(step_seconds: int) -> Iterator[Restarts]:
    for period in PERIODS:
        if period > step_seconds and period % step_seconds == 0:
            for start in range(0, period, step_seconds):
                yield Restarts(period, start)


def _changes(field: xr.DataArray, times: np.ndarray, step: TimeStep) -> _Changes | None:
    """Changes in some parts of the series; None if values are negative."""
    n, length = times.size, SHORTEST // step.seconds + 1
    after_gap = np.zeros(n, dtype=bool)
    after_gap[[0, *breaks(times, step)]] = True
    parts = []
    for begin in np.unique(np.linspace(0, max(n - length, 0), SAMPLES).astype(int)):
        part = slice(int(begin), int(begin) + length)
        values = np.asarray(field.isel({TIME: part}).values, dtype=np.float64)
        largest = float(np.nanmax(values, initial=0.0))
        if float(np.nanmin(values, initial=0.0)) < -SHARE * largest:
            return None
        values = np.where(np.isfinite(values), values, np.nan)
        change = np.diff(values, axis=0)
        known = np.isfinite(change)
        followed = ~after_gap[part][1:]
        sums = (
            np.where(known, each, 0.0).sum(axis=(1, 2))[followed]
            for each in (values[:-1], np.maximum(-change, 0), np.maximum(change, 0))
        )
        parts.append((times[part][1:][followed], *sums))
    return _Changes(*(np.concatenate(each) for each in zip(*parts, strict=True)))
