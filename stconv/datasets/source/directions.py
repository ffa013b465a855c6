"""Directions on a circle, converted to sine and cosine, which a network can average, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from stconv.datasets.source.decoding import LIMITS, applied
from stconv.errors import VariableError
from stconv.sphere import TURN

PARTS = {"sin": np.sin, "cos": np.cos}


def split_directions(ds: xr.Dataset, names: Sequence[str], source: str) -> xr.Dataset:
    """Replace directions in degrees by sine and cosine: `wdir` by `wdir_sin` and `wdir_cos`.

    Args:
        ds: Decoded variables; directions that are already split are unchanged.
        names: Directions to split; names that the dataset lacks are ignored here.
        source: File or dataset, for messages.

    Returns:
        The dataset with the components, float32, NaN where the direction is missing or exceeds 360 degrees.

    Raises:
        VariableError: Another variable has the name of a component.
    """
    for name in names:
        if name not in ds.data_vars:
            continue
        taken = [f"{name}_{part}" for part in PARTS if f"{name}_{part}" in ds.variables]
        if taken:
            raise VariableError(
                f"{source}: '{taken[0]}' exists already, so '{name}' cannot be split into components. "
                "Leave it out of `components`, or rename the variable."
            )
        variable = ds[name].variable
        left_out = {"units", "standard_name", "long_name", *LIMITS}
        attrs = {key: value for key, value in variable.attrs.items() if key not in left_out}
        what = variable.attrs.get("long_name", variable.attrs.get("standard_name", name))
        parts = {}
        for part in PARTS:
            component = applied(variable, _component(part), np.dtype(np.float32))
            said = attrs | {"units": "1", "long_name": f"{part} of {what}"}
            kept = {k: v for k, v in variable.encoding.items() if k in ("chunks", "chunksizes")}
            parts[f"{name}_{part}"] = xr.Variable(variable.dims, component._data, said, kept)
        ds = ds.drop_vars(name).assign(parts)
    return ds


def with_directions(forecast: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Add to a forecast the directions of its components, in degrees from 0 to 360."""
    for name in names:
        if not {f"{name}_{part}" for part in PARTS} <= set(forecast.data_vars):
            continue
        sine, cosine = forecast[f"{name}_sin"], forecast[f"{name}_cos"]
        degrees = np.rad2deg(np.arctan2(sine.values, cosine.values)) % TURN
        attrs = {"units": "degree", "long_name": f"direction of {name}_sin and {name}_cos"}
        forecast = forecast.assign({name: (sine.dims, degrees.astype(np.float32), attrs)})
    return forecast


def _component(part: str) -> Callable[[np.ndarray], np.ndarray]:
    """Sine or cosine of degrees; NaN beyond 360 degrees."""

    def of(degrees: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            known = np.where(np.abs(degrees) <= TURN, degrees, np.nan).astype(np.float64)
        return np.asarray(PARTS[part](np.deg2rad(known)), dtype=np.float32)

    return of
