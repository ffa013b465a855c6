"""Conversion of the values of a field: the user's valid range and units, and float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.precision import needs_float64
from stconv.datasets.source.units import linear_conversion


def field_values(
    variable: xr.Variable, name: str, spec: GridSpec, source: str, dtype: np.dtype[Any] | None = None
) -> xr.Variable:
    """Apply the user's valid range and units to decoded values, and convert them to float32.

    Args:
        variable: Decoded values.
        name: Name of the field, as in `spec`.
        spec: Valid range and target units.
        source: File or dataset, for messages.
        dtype: float32 or float64 if known; None to decide by some steps.

    Returns:
        float32 of the same shape, or float64 where float32 is too coarse (see `needs_float64`), with the
        attribute `units`.

    Raises:
        UnitsError: The units cannot be converted to the target units.
    """
    attrs = dict(variable.attrs)
    found = str(attrs.get("units", attrs.get("Unit", attrs.get("unit", ""))))
    wanted = spec.units.get(name, found)
    if name in spec.valid_range:
        low, high = spec.valid_range[name]
        valid = (variable >= (-np.inf if low is None else low)) & (
            variable <= (np.inf if high is None else high)
        )
        variable = variable.where(valid)
    factor, offset = linear_conversion(found, wanted, name, source)
    if (factor, offset) != (1.0, 0.0):
        variable = variable * factor + offset
    if dtype is None:
        dtype = np.dtype(np.float64 if needs_float64(variable) else np.float32)
    return xr.Variable(variable.dims, variable.data.astype(dtype), attrs | {"units": wanted})
