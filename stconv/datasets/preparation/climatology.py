"""The climatology by time of day and year, and optionally of week, as a torch module."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stconv.datasets.preparation.harmonics import Term, fit_harmonics
from stconv.errors import ShapeError


class HarmonicClimatology(nn.Module):
    """Climatology of every channel and cell, as harmonics of day and year, and optionally of the week.

    c(day, year, week) = sum over terms of coefficient * cos(2 pi (j day + k year + w week) - q pi / 2)

    Args:
        terms: The terms, (j, k, q) or, with a weekly cycle, (j, k, w, q); the constant first.
        coefficients: float32, (term, channel, lat, lon); NaN in cells without a valid value.
    """

    coefficients: Tensor

    def __init__(self, terms: Sequence[Sequence[int]], coefficients: Tensor) -> None:
        super().__init__()
        self.terms: list[Term] = [tuple(int(n) for n in term) for term in terms]
        if coefficients.ndim != 4 or len(coefficients) != len(self.terms):
            raise ShapeError(
                f"coefficients have shape {tuple(coefficients.shape)}; expected (term, channel, lat, lon) "
                f"with {len(self.terms)} terms."
            )
        self.register_buffer("coefficients", coefficients.float())

    @classmethod
    def fit(cls, values: np.ndarray, cycles: np.ndarray, weekly: bool = False) -> HarmonicClimatology:
        """Fit each cell by least squares over its valid steps; see `fit_harmonics`.

        Args:
            values: Training period, float32, (time, channel, lat, lon), NaN missing.
            cycles: Fractions of day, year and week, (time, 3).
            weekly: Whether to fit a weekly cycle.
        """
        terms, coefficients = fit_harmonics(values, cycles, weekly)
        return cls(terms, torch.from_numpy(coefficients))

    def basis(self, cycles: Tensor) -> Tensor:
        """Evaluate the terms: (..., 3) fractions of day, year and week to (..., term)."""
        table = torch.tensor(self.terms, dtype=cycles.dtype, device=cycles.device)
        used = table.shape[1] - 1
        return torch.cos(
            2 * math.pi * (cycles[..., :used] @ table[:, :used].T) - 0.5 * math.pi * table[:, -1]
        )

    def forward(self, cycles: Tensor) -> Tensor:
        """Evaluate the climatology at given times.

        Args:
            cycles: Fractions of day, year and week, float32, (batch, time, 3).

        Returns:
            float32, (batch, channel, time, lat, lon), physical units, NaN in cells without a valid value.
        """
        return torch.einsum("btk,kchw->bcthw", self.basis(cycles), self.coefficients)
