"""Whether two units are the same, and how to get from one to the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stconv.errors import UnitsError

SPELLINGS = {
    "degrees_celsius": "degC",
    "degrees_c": "degC",
    "deg_c": "degC",
    "degrees celsius": "degC",
    "kelvins": "K",
}
"""Spellings found in files that UDUNITS, and hence the registry of cf_xarray, does not know; lower case."""


@dataclass(frozen=True)
class Conversion:
    """new = scale * old + offset, in float64."""

    scale: float = 1.0
    offset: float = 0.0

    @property
    def identity(self) -> bool:
        """Whether nothing changes."""
        return self.scale == 1.0 and self.offset == 0.0

    def forward(self, values: np.ndarray) -> np.ndarray:
        """From the old unit to the new one; float32 in, float32 out."""
        return (
            values
            if self.identity
            else (self.scale * values.astype(np.float64) + self.offset).astype(np.float32)
        )

    def backward(self, values: np.ndarray) -> np.ndarray:
        """From the new unit back to the old one; float32 in, float32 out."""
        return (
            values
            if self.identity
            else ((values.astype(np.float64) - self.offset) / self.scale).astype(np.float32)
        )


def conversion(old: str, new: str) -> Conversion:
    """Find the conversion between two units, as UDUNITS writes them ("m s-1", "degC").

    Raises:
        UnitsError: One of them is unknown, or they measure different things.
    """
    if old == new:
        return Conversion()
    from cf_xarray.units import units  # 0.7 s to import, and most files need no conversion

    try:
        points = units.Quantity(np.array([0.0, 1.0]), _unit(old)).to(_unit(new)).magnitude
    except Exception as error:  # pint raises a dozen unrelated types
        raise UnitsError(f"'{old}' can not be converted to '{new}': {error}") from error
    scale, offset = float(points[1] - points[0]), float(points[0])
    # K to degC and back leaves 1 - 2e-16 behind; a ratio of units is never that close to 1 by itself.
    scale = 1.0 if abs(scale - 1.0) < 1e-12 else scale
    return Conversion(scale, 0.0 if abs(offset) < 1e-12 else offset)


def _unit(text: str) -> str:
    return SPELLINGS.get(text.lower(), text)
