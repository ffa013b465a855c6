"""Numbers that stand for missing: outside a declared valid range, never written, or to be suspected."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.time_axis import iso
from stconv.errors import DataError

SENTINELS = (
    *(-99.0, -99.9, -999.0, -999.9, -9999.0, -9999.9, -99999.0, -32767.0, -32768.0),
    *(9999.0, 99999.0, 1e20, -1e20, 1e30, -1e30, 1e35, 1e36, 9.969209968386869e36),
)
"""Numbers that people write for missing."""
DEFAULT_FILL = {"f4": 9.969209968386869e36, "f8": 9.969209968386869e36, "i2": -32767, "i4": -2147483647}
"""What the NetCDF library leaves where nothing was written, declared or not (NetCDF users' guide)."""


def mask_declared(
    variable: xr.Variable, attrs: Mapping[str, Any], encoding: Mapping[str, Any]
) -> xr.Variable:
    """Make missing what the file itself says is: outside its valid range, or never written.

    Args:
        variable: Decoded values.
        attrs: Its attributes; `valid_range`, `valid_min` and `valid_max` count as CF says, packed or not.
        encoding: How it was stored.

    Returns:
        The variable, with NaN where it is missing.
    """
    stored = np.dtype(encoding.get("dtype", variable.dtype))
    scale, offset = float(encoding.get("scale_factor", 1.0)), float(encoding.get("add_offset", 0.0))
    fill = DEFAULT_FILL.get(stored.str[1:])
    if fill is not None and "_FillValue" not in encoding and "missing_value" not in encoding:
        fill, tolerance = fill * scale + offset, 1e-6 * abs(fill) if stored.kind == "f" else abs(scale) / 4
        variable = variable.where((variable < fill - tolerance) | (variable > fill + tolerance))
    low, high = _valid_range(attrs, stored, scale, offset)
    if (low, high) == (-np.inf, np.inf):
        return variable
    # Values are rounded to their type, and so are the limits.
    slack = 1e-6 * max(abs(x) for x in (low, high) if np.isfinite(x))
    return variable.where((variable >= low - slack) & (variable <= high + slack))


def _valid_range(
    attrs: Mapping[str, Any], stored: np.dtype[Any], scale: float, offset: float
) -> tuple[float, float]:
    """Limits in the units of the values; those given in the type of packed values are packed, too."""
    limits = np.atleast_1d(attrs.get("valid_range", []))
    if limits.size != 2:
        limits = np.array([attrs.get("valid_min", -np.inf), attrs.get("valid_max", np.inf)]).ravel()
    if limits.size != 2 or limits.dtype.kind not in "iuf" or not limits[0] < limits[1]:
        return -np.inf, np.inf
    if (scale, offset) != (1.0, 0.0) and stored.kind in "iu" and np.asarray(limits).dtype.kind in "iu":
        limits = np.sort(limits * scale + offset)
    return float(limits[0]), float(limits[1])


def refuse_unusable(
    values: np.ndarray, variables: Sequence[str], times: np.ndarray, settled: Collection[str] = ()
) -> None:
    """Refuse infinite values, and undeclared sentinels: far from all other values, and usual for missing.

    Args:
        values: Some steps of a series, float32, (time, channel, lat, lon), NaN missing.
        variables: Names of the channels.
        times: Their times.
        settled: Variables whose valid range the user has stated.

    Raises:
        DataError: Says which value, when, and what to do.
    """
    for channel, name in enumerate(variables):
        field = values[:, channel]
        low, high = float(np.fmin.reduce(field, axis=None)), float(np.fmax.reduce(field, axis=None))
        if np.isinf(low) or np.isinf(high):
            step = int(np.flatnonzero(np.isinf(field).any(axis=(1, 2)))[0])
            raise DataError(
                f"variable '{name}' is infinite at time {iso(times[step])}; expected finite values or NaN. "
                "Declare its valid_range in the grid, so that values outside count as missing."
            )
        if name in settled:
            continue
        for value in (low, high):
            if not np.isin(np.float32(value), np.array(SENTINELS, dtype=np.float32)):
                continue
            rest = field[np.isfinite(field) & (field != np.float32(value))]
            spread = float(rest.max() - rest.min()) if rest.size else 0.0
            distance = float(np.abs(rest - value).min()) if rest.size else np.inf
            if distance > spread:
                where = f"all others lie in {rest.min():g} to {rest.max():g}" if rest.size else "nothing else"
                raise DataError(
                    f"variable '{name}' holds {value:g} from {iso(times[0])} on, {where}: it looks like a "
                    "sentinel for missing that the file does not declare. State what is valid with "
                    f"`grid: {{valid_range: {{{name}: [LOW, HIGH]}}}}`; one that includes {value:g} keeps it."
                )
