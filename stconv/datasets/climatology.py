"""The mean state by time of day and time of year: a few harmonics per cell, fitted by least squares.

It works in any calendar, because it sees times only as fractions of the day and of the year.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stconv.errors import ShapeError

Term = tuple[int, int, int]
"""(day harmonic j, year harmonic k, quarter q): cos(2 pi (j day + k year) - q pi / 2); q = 1 is the sine."""

DAY_HARMONICS = 4
YEAR_HARMONICS = 2
STEPS_PER_TERM = 3
"""A period supports no more terms than a third of its steps."""
RIDGE = 1e-3
"""Penalty on the harmonics of cells with missing steps, as a share of the valid steps."""
_CELLS_AT_ONCE = 4096


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
        flat = values.reshape(n_time, -1)
        coefficients = torch.empty(len(terms), flat.shape[1], dtype=torch.float64)
        for start in range(0, flat.shape[1], _CELLS_AT_ONCE):
            cells = slice(start, start + _CELLS_AT_ONCE)
            coefficients[:, cells] = _fit_cells(torch.from_numpy(flat[:, cells].astype(np.float64)), basis)
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


def _fit_cells(values: Tensor, basis: Tensor) -> Tensor:
    """Least squares of (time, cell) values on a (time, term) basis, NaN steps left out."""
    n_terms = basis.shape[1]
    valid = torch.isfinite(values)
    count = valid.sum(0)
    filled = values.nan_to_num(0.0)
    mean = filled.sum(0) / count  # 0 / 0 is NaN: a cell without a valid value
    centered = torch.where(valid, values - mean, 0.0)
    result = torch.zeros(n_terms, values.shape[1], dtype=values.dtype)
    whole = count == len(values)
    result[:, whole] = torch.linalg.lstsq(basis, centered[:, whole]).solution
    broken = (~whole & (count >= STEPS_PER_TERM * n_terms)).nonzero().flatten()
    if len(broken):
        penalty = torch.full((n_terms,), RIDGE, dtype=values.dtype)
        penalty[0] = 0.0
        products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
        gram = (valid[:, broken].to(values.dtype).T @ products).reshape(-1, n_terms, n_terms)
        gram = gram + count[broken, None, None] * torch.diag(penalty)
        moments = (centered[:, broken].T @ basis)[..., None]
        result[:, broken] = torch.linalg.solve(gram, moments)[..., 0].T
    result[0] += mean
    return result
