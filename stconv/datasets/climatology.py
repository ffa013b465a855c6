"""The mean state by time of day and time of year, as a module: the harmonics of `harmonics.py` per cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stconv.datasets.harmonics import Term, fit_harmonics
from stconv.errors import ShapeError


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
        """Fit each cell by least squares over its valid steps; see `fit_harmonics`.

        Args:
            values: Training period, float32, (time, channel, lat, lon), NaN missing.
            cycles: Fractions of day and year, (time, 2).
        """
        terms, coefficients = fit_harmonics(values, cycles)
        return cls(terms, torch.from_numpy(coefficients))

    def basis(self, cycles: Tensor) -> Tensor:
        """Values of the terms: (..., 2) fractions of day and year to (..., term)."""
        table = torch.tensor(self.terms, dtype=cycles.dtype, device=cycles.device)
        return torch.cos(2 * math.pi * (cycles @ table[:, :2].T) - 0.5 * math.pi * table[:, 2])

    def forward(self, cycles: Tensor) -> Tensor:
        """Climatology at given times.

        Args:
            cycles: Fractions of day and year, float32, (batch, time, 2).

        Returns:
            float32, (batch, channel, time, lat, lon), physical units, NaN in cells without a valid value.
        """
        return torch.einsum("btk,kchw->bcthw", self.basis(cycles), self.coefficients)
