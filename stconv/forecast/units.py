"""From the user's units to the model's, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conversion:
    """model = factor * user + offset - center; computed in float64.

    Attributes:
        factor: From units to units.
        offset: From units to units.
        center: Of a variable that the model sees as departures from it, see `Series.centers`.
    """

    factor: float = 1.0
    offset: float = 0.0
    center: float = 0.0

    @property
    def identity(self) -> bool:
        """Whether nothing changes."""
        return (self.factor, self.offset, self.center) == (1.0, 0.0, 0.0)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """From the user's unit to the model's."""
        if self.identity:
            return values.astype(np.float32, copy=False)
        return (self.factor * values.astype(np.float64) + (self.offset - self.center)).astype(np.float32)

    def backward(self, values: np.ndarray) -> np.ndarray:
        """From the model's unit to the user's, float64 where float32 could not resolve them."""
        if self.identity:
            return values
        physical = (values.astype(np.float64) + (self.center - self.offset)) / self.factor
        return physical if self.center else physical.astype(np.float32)
