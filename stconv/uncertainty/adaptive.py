"""Bands that widen or narrow over time, as the truth of earlier forecasts becomes known.

Calibrated bands hold for what resembles the validation period. In a season or at a level that was never seen
they are too narrow; the truths that came in since then say by how much.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stconv.errors import ShapeError
from stconv.uncertainty.bands import LEVELS

RATE = 0.5
"""Change of the widening for one truth, divided by the lead plus 1: what is learned late is applied slowly,
so that it does not overshoot."""
LEAST, MOST = -0.25, 3.0
"""Bounds of the widening, in widths of the band."""


class Adaptation:
    """Widening of each band by the share of truths outside of it so far.

    w <- w + rate / (lead + 1) (outside - (1 - level))

    for each level, target and lead, where `outside` is the share of cells of one forecast whose truth lies
    outside of the band that it was given. Each bound then lies w widths of the band further out. A widening
    at a reference time depends on truths up to that time alone: that of lead k on forecasts made k steps
    before or earlier.

    Args:
        n_targets: Number of targets.
        leads: Number of leads.
        widening: Widening to start from, (level, target, leads); None for that of the calibration, 0.

    Source:
        Gibbs and Candes (2021), arXiv 2106.00170, eq. 2, on the bound itself instead of its level as in
        Angelopoulos et al. (2023), arXiv 2307.16895, eq. 4.
    """

    def __init__(self, n_targets: int, leads: int, widening: np.ndarray | None = None) -> None:
        shape = (len(LEVELS), n_targets, leads)
        self.widening = np.zeros(shape) if widening is None else np.array(widening, np.float64)
        if self.widening.shape != shape:
            raise ShapeError(f"The widening of bands is {self.widening.shape}; expected {shape}.")
        self._rate = RATE / np.arange(2, leads + 2)
        self._aim = 1 - np.array(LEVELS)[:, None] / 100
        self._pending: list[tuple[int, np.ndarray]] = []

    def at(self, reference: int) -> np.ndarray:
        """Return the widening at a reference time, (level, target, leads).

        Args:
            reference: Step of the reference time; not before that of an earlier call.
        """
        waiting = []
        for made, outside in self._pending:
            for lead in range(min(reference - made, outside.shape[-1])):
                self._learn(lead, outside[..., lead])
                outside[..., lead] = np.nan
            if reference - made < outside.shape[-1]:
                waiting.append((made, outside))
        self._pending = waiting
        return self.widening.copy()

    def observe(self, reference: int, outside: np.ndarray) -> None:
        """Take the shares of cells outside of the bands of a forecast, for reference times after its truths.

        Args:
            reference: Step of the reference time of the forecast.
            outside: (level, target, leads); NaN where no truth is known.
        """
        self._pending.append((reference, np.array(outside, np.float64)))

    def learn(self, outside: np.ndarray) -> None:
        """Take shares whose truths are all known now, (level, target, leads); NaN where none is known."""
        for lead in range(outside.shape[-1]):
            self._learn(lead, outside[..., lead])

    def _learn(self, lead: int, outside: np.ndarray) -> None:
        change = np.nan_to_num(self._rate[lead] * (outside - self._aim))
        self.widening[..., lead] = np.clip(self.widening[..., lead] + change, LEAST, MOST)


def outside_shares(bounds: Tensor, truth: Tensor) -> Tensor:
    """Return the share of known truths outside of each band, (level, batch, target, leads); NaN without any.

    Args:
        bounds: (level, 2, batch, target, leads, lat, lon).
        truth: (batch, target, leads, lat, lon); NaN where it is not known.
    """
    lower, upper = bounds.unbind(1)
    known = torch.isfinite(truth) & torch.isfinite(lower) & torch.isfinite(upper)
    beyond = (truth < lower) | (truth > upper)
    return (beyond & known).sum((-2, -1)) / known.sum((-2, -1))
