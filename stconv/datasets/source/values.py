"""The values of one field: what is missing becomes NaN, units are converted, float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.sentinels import mask_declared
from stconv.datasets.source.units import linear_conversion


def field_values(
    variable: xr.Variable, name: str, spec: GridSpec, source: str, encoding: Mapping[Any, Any]
) -> xr.Variable:
    """Sentinels to NaN, units converted, float32.

    Args:
        variable: Decoded values.
        name: Name of the field, by which `spec` speaks of it.
        spec: Its valid range and the units wanted.
        source: File or dataset, for messages.
        encoding: How the values were stored.

    Returns:
        float32 of the same shape, with the attribute `units`.

    Raises:
        UnitsError: The units cannot become those wanted.
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
    else:
        variable = mask_declared(variable, attrs, encoding)
    factor, offset = linear_conversion(found, wanted, name, source)
    if (factor, offset) != (1.0, 0.0):
        variable = variable * factor + offset
    return xr.Variable(variable.dims, variable.data.astype(np.float32), attrs | {"units": wanted})
