"""Harmonics of day, year and optionally week for each cell, fitted by least squares; NumPy only.

They work in any calendar, because times enter only as fractions of these cycles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from stconv.clock import GREGORIAN_CALENDARS, WEEK_SECONDS
from stconv.datasets.series.cache import forget_pages
from stconv.datasets.source.time_axis import TimeStep
from stconv.errors import ConfigError

Term = tuple[int, ...]
"""Harmonics of day, year and (with a weekly cycle) week, then the quarter phase q:
(j, k, q) or (j, k, w, q), cos(2 pi (j day + k year + w week) - q pi / 2); q = 1 is the sine."""

DAY_HARMONICS = 4
YEAR_HARMONICS = 2
WEEK_HARMONICS = 59
"""Eight harmonics of the day with three neighbors on both sides: weekdays differ in their daily cycle."""
LEAST_WEEKS = 4
"""Least number of weeks for a weekly cycle."""
STEPS_PER_TERM = 3
"""Least number of steps per term."""
RIDGE = 1e-3
"""Penalty on the harmonics of cells with missing steps, as a fraction of the valid steps."""
_BYTES_AT_ONCE = 64 * 2**20


def fit_harmonics(
    values: np.ndarray, cycles: np.ndarray, weekly: bool = False
) -> tuple[list[Term], np.ndarray]:
    """Fit each cell by least squares, in float64, over its valid steps.

    Only harmonics that the times resolve are used (see `supported_terms`). Cells with missing steps get a
    slight penalty on their harmonics; those with too few valid steps for the terms get only their mean.

    Args:
        values: Training period, float32, (time, channel, lat, lon), NaN missing.
        cycles: Fractions of day, year and week, from `datasets.source.cycles`, (time, 3).
        weekly: Whether to fit a weekly cycle, for example of traffic, consumption or air quality.

    Returns:
        The terms, and their coefficients, float64, (term, channel, lat, lon), NaN in cells without a value.
    """
    shape = values.shape[1:]
    terms = supported_terms(cycles, weekly)
    coefficients = _least_squares(values, harmonic_basis(cycles, terms))
    return terms, coefficients.reshape(len(terms), *shape)


def check_weekly(step: TimeStep, calendar: str, n_training: int) -> None:
    """Refuse a weekly cycle that the data cannot resolve.

    Raises:
        ConfigError: The calendar has no weeks, a step exceeds half a week, or the period is shorter than four
            weeks.
    """
    seconds, why = step.approximate_seconds, ""
    if calendar not in GREGORIAN_CALENDARS:
        why = f"the calendar is {calendar}, whose dates have no day of the week"
    elif seconds > WEEK_SECONDS / 2:
        why = f"a step is {step.label}, more than half a week"
    elif n_training * seconds < LEAST_WEEKS * WEEK_SECONDS:
        weeks = n_training * seconds / WEEK_SECONDS
        why = f"the training period is {weeks:.1f} weeks, expected {LEAST_WEEKS} or more"
    if why:
        raise ConfigError(f"weekly_cycle is set, but {why}. Leave it out.")


def harmonic_basis(cycles: np.ndarray, terms: Sequence[Term]) -> np.ndarray:
    """Evaluate the terms: (..., 3) fractions of day, year and week to (..., term), float64."""
    table = np.asarray(terms, dtype=np.float64)
    used = table.shape[1] - 1
    phase = np.asarray(cycles, dtype=np.float64)[..., :used] @ table[:, :used].T
    return np.cos(2 * math.pi * phase - 0.5 * math.pi * table[:, -1])


def harmonic_values(cycles: np.ndarray, terms: Sequence[Term], coefficients: np.ndarray) -> np.ndarray:
    """Evaluate the climatology at given times; `climatology.HarmonicClimatology` is the torch form.

    Args:
        cycles: Fractions of day, year and week, (time, 3).
        terms: The terms.
        coefficients: (term, channel, lat, lon).

    Returns:
        float64, (time, channel, lat, lon), NaN in cells without a valid value.
    """
    return np.einsum("tk,kchw->tchw", harmonic_basis(cycles, terms), coefficients)


def supported_terms(cycles: np.ndarray, weekly: bool = False) -> list[Term]:
    """Find the terms that a set of times can distinguish.

    A day harmonic j needs times of day at most 1 / (2 j) of a day apart all around the clock, and likewise a
    week harmonic; a year harmonic k, times of year at most 1 / (4 k) of a year apart, so that no season is
    extrapolated. Terms that are linear combinations of earlier ones at these times (the sine at two samples
    per period) are left out.

    Args:
        cycles: Fractions of day, year and week, (time, 3).
        weekly: Whether to include harmonics of the week.

    Returns:
        The constant, then the harmonics of the year, of the day and of the week.
    """
    day_gap, year_gap = (_largest_gap(cycles[:, column]) for column in (0, 1))
    year = [(0, k, q) for k in range(1, YEAR_HARMONICS + 1) if year_gap <= 1 / (4 * k) for q in (0, 1)]
    day = [(j, 0, q) for j in range(1, DAY_HARMONICS + 1) if day_gap <= 1 / (2 * j) + 1e-9 for q in (0, 1)]
    wanted: list[Term] = [(0, 0, 0), *year, *day]
    if weekly:
        gap = _largest_gap(cycles[:, 2])
        week: list[Term] = [
            (0, 0, w, q) for w in range(1, WEEK_HARMONICS + 1) if gap <= 1 / (2 * w) + 1e-9 for q in (0, 1)
        ]
        wanted = [(j, k, 0, q) for j, k, q in wanted] + week
    wanted = wanted[: max(1, len(cycles) // STEPS_PER_TERM)]
    kept: list[Term] = []
    rest = _products(cycles, wanted)
    for i, term in enumerate(wanted):  # Gram and Schmidt, by the products alone
        if rest[i, i] > (1e-3) ** 2 * len(cycles):
            kept.append(term)
            along = rest[i] / math.sqrt(rest[i, i])
            rest -= np.outer(along, along)
    return kept


def _products(cycles: np.ndarray, terms: Sequence[Term]) -> np.ndarray:
    """Products of all pairs of terms, summed over the times, in blocks: (term, term)."""
    at_once = max(1, _BYTES_AT_ONCE // (8 * len(terms)))
    products = np.zeros((len(terms), len(terms)))
    for start in range(0, len(cycles), at_once):
        basis = harmonic_basis(cycles[start : start + at_once], terms)
        products += basis.T @ basis
    return products


def _largest_gap(fractions: np.ndarray) -> float:
    """Longest gap between times in the cycle, as a fraction of the cycle."""
    ordered = np.unique(fractions)
    return float(np.diff(np.append(ordered, ordered[0] + 1)).max())


def _least_squares(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Least squares of (time, ...) values on a (time, term) basis, without NaN: (term, cell), float64.

    Solves the normal equations, summed over blocks of steps, so that values may be on disk. The terms are far
    from collinear (`supported_terms`), so this is as accurate as a decomposition.
    """
    n_cells, n_terms = math.prod(values.shape[1:]), basis.shape[1]
    count, total = np.zeros(n_cells, dtype=np.int64), np.zeros(n_cells)
    for _, block in _blocks(values):
        count += np.isfinite(block).sum(0)
        total += np.nan_to_num(block).sum(0)
    with np.errstate(invalid="ignore"):
        mean = total / count  # 0 / 0 is NaN: a cell without a valid value
    whole = count == len(values)
    broken = np.flatnonzero(~whole & (count >= STEPS_PER_TERM * n_terms))
    moments = np.zeros((n_terms, n_cells))
    for steps, block in _blocks(values):
        moments += basis[steps].T @ np.nan_to_num(block - mean)
    result = np.zeros((n_terms, n_cells))
    if whole.any():
        result[:, whole] = np.linalg.solve(basis.T @ basis, moments[:, whole])
    penalty = np.full(n_terms, RIDGE)
    penalty[0] = 0.0
    at_once = max(1, _BYTES_AT_ONCE // (8 * n_terms**2))
    for cells in np.split(broken, range(at_once, len(broken), at_once)) if len(broken) else []:
        grams = _gram(values, basis, cells) + count[cells, None, None] * np.diag(penalty)
        result[:, cells] = np.linalg.solve(grams, moments[:, cells].T[..., None])[..., 0].T
    result[0] += mean
    return result


def _gram(values: np.ndarray, basis: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Sum the products of terms over the valid steps of each cell: (cell, term, term)."""
    n_terms = basis.shape[1]
    gram = np.zeros((len(cells), n_terms * n_terms))
    n = max(1, _BYTES_AT_ONCE // (8 * max(n_terms**2, math.prod(values.shape[1:]))))
    for start in range(0, len(values), n):
        block = basis[start : start + n]
        products = (block[:, :, None] * block[:, None, :]).reshape(len(block), -1)
        known = np.isfinite(np.asarray(values[start : start + n]).reshape(len(block), -1)[:, cells])
        gram += known.astype(np.float64).T @ products
        forget_pages(values)
    return gram.reshape(-1, n_terms, n_terms)


def _blocks(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Iterate over blocks of steps and their values in float64, (time, cell), of bounded size."""
    n_cells = math.prod(values.shape[1:])
    n = max(1, _BYTES_AT_ONCE // (8 * n_cells))
    for start in range(0, len(values), n):
        yield slice(start, start + n), values[start : start + n].astype(np.float64).reshape(-1, n_cells)
        forget_pages(values)
