"""The mean state by time of day and time of year: a few harmonics per cell, fitted by least squares.

It works in any calendar, because it sees times only as fractions of the day and of the year.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stconv.datasets.cache import forget_pages
from stconv.errors import ShapeError

Term = tuple[int, int, int]
"""(day harmonic j, year harmonic k, quarter q): cos(2 pi (j day + k year) - q pi / 2); q = 1 is the sine."""

DAY_HARMONICS = 4
YEAR_HARMONICS = 2
STEPS_PER_TERM = 3
"""A period supports no more terms than a third of its steps."""
RIDGE = 1e-3
"""Penalty on the harmonics of cells with missing steps, as a share of the valid steps."""
_BYTES_AT_ONCE = 64 * 2**20


class HarmonicClimatology(nn.Module):
    """Climatology of every channel and cell, as harmonics of the day and of the year.

    c(day, year) = sum over terms (j, k, q) of coefficient * cos(2 pi (j day + k year) - q pi / 2)

    Args:
        terms: The terms, the constant (0, 0, 0) first.
        coefficients: float32, (term, channel, lat, lon); NaN in cells without a valid value.
    """

    coefficients: Tensor

    def __init__(self, terms: Sequence[Sequence[int]], coefficients: Tensor) -> None:
        super().__init__()
        self.terms: list[Term] = [(int(j), int(k), int(q)) for j, k, q in terms]
        if coefficients.ndim != 4 or len(coefficients) != len(self.terms):
            raise ShapeError(
                f"coefficients have shape {tuple(coefficients.shape)}; "
                f"expected (term, channel, lat, lon) with {len(self.terms)} terms."
            )
        self.register_buffer("coefficients", coefficients.float())

    @classmethod
    def fit(cls, values: np.ndarray, cycles: np.ndarray) -> HarmonicClimatology:
        """Fit each cell by least squares, in float64, over its valid steps.

        Only harmonics that the times support are used (see `supported_terms`). Cells with missing steps get a
        slight penalty on their harmonics; those with too few valid steps for the terms get their mean alone.

        Args:
            values: Training period, float32, (time, channel, lat, lon), NaN missing.
            cycles: Fractions of day and year, (time, 2).

        Returns:
            The fitted climatology.
        """
        n_time, *shape = values.shape
        terms = supported_terms(cycles)
        basis = _basis(torch.from_numpy(np.asarray(cycles, dtype=np.float64)), terms)
        coefficients = _least_squares(values.reshape(n_time, -1), basis)
        return cls(terms, coefficients.reshape(len(terms), *shape))

    def basis(self, cycles: Tensor) -> Tensor:
        """Values of the terms: (..., 2) fractions of day and year to (..., term)."""
        return _basis(cycles, self.terms)

    def forward(self, cycles: Tensor) -> Tensor:
        """Climatology at given times.

        Args:
            cycles: Fractions of day and year, float32, (batch, time, 2).

        Returns:
            float32, (batch, channel, time, lat, lon), physical units, NaN in cells without a valid value.
        """
        return torch.einsum("btk,kchw->bcthw", self.basis(cycles), self.coefficients)


def supported_terms(cycles: np.ndarray) -> list[Term]:
    """Terms that a set of times can tell apart.

    A day harmonic j needs times of day at most 1 / (2 j) of a day apart all around the clock; a year
    harmonic k, times of year at most 1 / (4 k) of a year apart, so that no season is extrapolated. Terms
    that are linear combinations of earlier ones at these times (the sine at two samples per period) are
    left out.

    Args:
        cycles: Fractions of day and year, (time, 2).

    Returns:
        The constant, then the harmonics of the year, then those of the day.
    """
    day_gap, year_gap = (_largest_gap(cycles[:, column]) for column in (0, 1))
    year = [(0, k, q) for k in range(1, YEAR_HARMONICS + 1) if year_gap <= 1 / (4 * k) for q in (0, 1)]
    day = [(j, 0, q) for j in range(1, DAY_HARMONICS + 1) if day_gap <= 1 / (2 * j) + 1e-9 for q in (0, 1)]
    kept: list[Term] = []
    orthonormal: list[Tensor] = []
    phases = torch.from_numpy(np.asarray(cycles, dtype=np.float64))
    for term in [(0, 0, 0), *year, *day][: max(1, len(cycles) // STEPS_PER_TERM)]:
        column = _basis(phases, [term])[:, 0]
        rest = column.clone()
        for direction in orthonormal:
            rest -= direction * (direction @ rest)
        if rest.norm() > 1e-3 * math.sqrt(len(cycles)):
            kept.append(term)
            orthonormal.append(rest / rest.norm())
    return kept


def _basis(cycles: Tensor, terms: Sequence[Term]) -> Tensor:
    table = torch.tensor(terms, dtype=cycles.dtype, device=cycles.device)
    return torch.cos(2 * math.pi * (cycles @ table[:, :2].T) - 0.5 * math.pi * table[:, 2])


def _largest_gap(fractions: np.ndarray) -> float:
    """Longest stretch of the cycle, as a share of it, without a time."""
    ordered = np.unique(fractions)
    return float(np.diff(np.append(ordered, ordered[0] + 1)).max())


def _least_squares(values: np.ndarray, basis: Tensor) -> Tensor:
    """Least squares of (time, cell) values on a (time, term) basis, NaN left out: (term, cell), float64.

    By the normal equations, summed over blocks of steps, so that values may lie on disk. The terms are far
    from collinear (`supported_terms`), which makes this as good as a decomposition.
    """
    n_cells, n_terms = values.shape[1], basis.shape[1]
    count, total = torch.zeros(n_cells, dtype=torch.int64), torch.zeros(n_cells, dtype=torch.float64)
    for _, block in _blocks(values):
        count += torch.isfinite(block).sum(0)
        total += block.nan_to_num(0.0).sum(0)
    mean = total / count  # 0 / 0 is NaN: a cell without a valid value
    whole = count == len(values)
    broken = (~whole & (count >= STEPS_PER_TERM * n_terms)).nonzero().flatten()
    moments = torch.zeros(n_terms, n_cells, dtype=torch.float64)
    gram = torch.zeros(len(broken), n_terms * n_terms, dtype=torch.float64)
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    for steps, block in _blocks(values):
        moments += basis[steps].T @ (block - mean).nan_to_num(0.0)
        if len(broken):
            gram += torch.isfinite(block[:, broken]).double().T @ products[steps]
    result = torch.zeros(n_terms, n_cells, dtype=torch.float64)
    if whole.any():
        result[:, whole] = torch.linalg.solve(basis.T @ basis, moments[:, whole])
    if len(broken):
        penalty = torch.full((n_terms,), RIDGE, dtype=torch.float64)
        penalty[0] = 0.0
        grams = gram.reshape(-1, n_terms, n_terms) + count[broken, None, None] * torch.diag(penalty)
        result[:, broken] = torch.linalg.solve(grams, moments[:, broken].T[..., None])[..., 0].T
    result[0] += mean
    return result


def _blocks(values: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Steps and their values in float64, a bounded number of bytes at a time."""
    n = max(1, _BYTES_AT_ONCE // (8 * values.shape[1]))
    for start in range(0, len(values), n):
        yield slice(start, start + n), torch.from_numpy(values[start : start + n].astype(np.float64))
        forget_pages(values)
