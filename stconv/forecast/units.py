"""Conversion between the units of the user and those of the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conversion:
    """model = factor * user + offset - center; computed in float64.

    Attributes:
        factor: Factor from the user's units to the model's.
        offset: Offset from the user's units to the model's.
        center: Value that the model sees departures from, see `Series.centers`; 0 for most variables.
    """

    factor: float = 1.0
    offset: float = 0.0
    center: float = 0.0

    @property
    def identity(self) -> bool:
        """Whether the conversion changes nothing."""
        return (self.factor, self.offset, self.center) == (1.0, 0.0, 0.0)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Convert from the user's units to the model's."""
        if self.identity:
            return values.astype(np.float32, copy=False)
        return (self.factor * values.astype(np.float64) + (self.offset - self.center)).astype(np.float32)

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Convert from the model's units to the user's, in float64 if float32 cannot resolve the values."""
        if self.identity:
            return values
        physical = (values.astype(np.float64) + (self.center - self.offset)) / self.factor
        return physical if self.center else physical.astype(np.float32)
