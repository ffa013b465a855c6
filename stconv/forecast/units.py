"""From the user's units to the model's, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conversion:
    """model = factor * user + offset; computed in float64, float32 in and out."""

    factor: float = 1.0
    offset: float = 0.0

    @property
    def identity(self) -> bool:
        """Whether nothing changes."""
        return self.factor == 1.0 and self.offset == 0.0

    def forward(self, values: np.ndarray) -> np.ndarray:
        """From the user's unit to the model's."""
        if self.identity:
            return values
        return (self.factor * values.astype(np.float64) + self.offset).astype(np.float32)

    def backward(self, values: np.ndarray) -> np.ndarray:
        """From the model's unit to the user's."""
        if self.identity:
            return values
        return ((values.astype(np.float64) - self.offset) / self.factor).astype(np.float32)
