"""Directions on a circle, converted to sine and cosine, which a network can average, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from stconv.datasets.source.decoding import LIMITS, applied
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.origin import Origin, decode_attrs, encode_attrs
from stconv.datasets.source.physics import ROUNDED, is_direction, turn_in
from stconv.errors import UnitsError, VariableError
from stconv.sphere import DEGREE, TURN

PARTS = {"sin": np.sin, "cos": np.cos}
STANDARD_NAME = "standard_name_of_direction"
"""Attribute of a component with the standard name of its direction."""


def split_directions(ds: xr.Dataset, spec: GridSpec, source: str) -> xr.Dataset:
    """Replace directions in degrees by sine and cosine: `wdir` by `wdir_sin` and `wdir_cos`.

    Args:
        ds: Decoded variables; directions that are already split are unchanged.
        spec: Directions to split (`components`), and their valid ranges; names that the dataset lacks are
            ignored here.
        source: File or dataset, for messages.

    Returns:
        The dataset with the components, float32, NaN where the direction is missing or exceeds 360 degrees.

    Raises:
        VariableError: Another variable has the name of a component.
        UnitsError: The units of a direction are not those of an angle.
    """
    for name in spec.components:
        if name not in ds.data_vars:
            continue
        taken = [f"{name}_{part}" for part in PARTS if f"{name}_{part}" in ds.variables]
        if taken:
            raise VariableError(
                f"{source}: '{taken[0]}' exists already, so '{name}' cannot be split into components. "
                "Leave it out of `components`, or rename the variable."
            )
        variable = ds[name].variable
        to_degrees = _to_degrees(name, str(variable.attrs.get("units", "")), source)
        limits = spec.valid_range.get(name, (None, None))
        left_out = {"units", "standard_name", "long_name", *LIMITS}
        attrs = {key: value for key, value in variable.attrs.items() if key not in left_out}
        what = variable.attrs.get("long_name", variable.attrs.get("standard_name", name))
        standard = variable.attrs.get("standard_name")
        named = {} if standard is None else {STANDARD_NAME: standard}
        parts = {}
        for part in PARTS:
            component = applied(variable, _component(part, to_degrees, limits), np.dtype(np.float32))
            said = attrs | named | {"units": "1", "long_name": f"{part} of {what}"}
            kept = {k: v for k, v in variable.encoding.items() if k in ("chunks", "chunksizes")}
            parts[f"{name}_{part}"] = xr.Variable(variable.dims, component._data, said, kept)
        ds = ds.drop_vars(name).assign(parts)
    return ds


def directions_in(components: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return those of the split directions whose sine and cosine are both among some variables."""
    return [name for name in components if {f"{name}_{part}" for part in PARTS} <= set(names)]


def degrees_of(sine: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Direction of sine and cosine, which need not lie on the unit circle.

    Args:
        sine: Sine, any shape; NaN is missing.
        cosine: Cosine, of the same shape.

    Returns:
        float32, in [0, 360) degrees.

    Source:
        Mardia and Jupp (2000), Directional Statistics, section 2.2.1: the mean direction.
    """
    degrees = np.rad2deg(np.arctan2(np.asarray(sine, np.float64), np.asarray(cosine, np.float64)))
    turned = (degrees % TURN).astype(np.float32)
    return np.where(turned == TURN, np.float32(0), turned)  # a tiny negative angle rounds to a full turn


def directions_added(
    fields: Mapping[str, np.ndarray], attributes: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, Mapping[str, Any]]]:
    """Return fields and their attributes with the directions whose sine and cosine are among them."""
    all_fields, all_attributes = dict(fields), dict(attributes)
    for name in directions_in(names, list(fields)):
        all_fields[name] = degrees_of(fields[f"{name}_sin"], fields[f"{name}_cos"])
        all_attributes[name] = _described(attributes[f"{name}_sin"], name)
    return all_fields, all_attributes


def _described(attrs: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Attributes of a direction, from those of its sine.

    Args:
        attrs: Attributes of the sine.
        name: Name of the direction.
    """
    left_out = ("units", "long_name", STANDARD_NAME, "ancillary_variables")
    kept = {key: value for key, value in attrs.items() if key not in left_out}
    what = str(attrs.get("long_name", "")).removeprefix("sin of ")
    named = {"standard_name": attrs[STANDARD_NAME]} if STANDARD_NAME in attrs else {}
    return {
        **kept,
        **named,
        "long_name": what or f"direction of {name}_sin and {name}_cos",
        "units": DEGREE,
        "comment": f"Follows from {name}_sin and {name}_cos. It has no bands: theirs imply none of an angle.",
    }


def holds_directions(array: xr.DataArray) -> bool:
    """Whether a variable holds directions on a circle, by its name and attributes."""
    attrs = array.attrs
    described = f"{attrs.get('standard_name', '')} {attrs.get('long_name', '')}"
    return is_direction(str(array.name), str(attrs.get("units", "")), described)


def with_directions(origin: Origin, names: Sequence[str]) -> Origin:
    """Return the origin extended by directions, each restored like its sine."""
    fields = {}
    for name in names:
        if (sine := origin.fields.get(f"{name}_sin")) is not None:
            attrs = encode_attrs(_described(decode_attrs(sine.attrs), name))
            fields[name] = replace(sine, attrs=attrs, units=DEGREE, encoding={})
    return replace(origin, fields={**origin.fields, **fields})


def _to_degrees(name: str, units: str, source: str) -> float:
    """Factor from the units of a direction to degrees; without units it is in degrees."""
    if (turn := turn_in(units) if units.strip() else TURN) is not None:
        return TURN / turn
    raise UnitsError(
        f"{source}: '{name}' is in '{units}', so it cannot be split into components; expected a direction in "
        "degrees or radians. Leave it out of `components`, or correct its attribute `units`."
    )


def _component(
    part: str, to_degrees: float, limits: Sequence[float | None]
) -> Callable[[np.ndarray], np.ndarray]:
    """Sine or cosine of an angle; NaN beyond 360 degrees and outside of the limits."""
    low, high = (-np.inf if limits[0] is None else limits[0], np.inf if limits[1] is None else limits[1])

    def of(angles: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            degrees = angles.astype(np.float64) * to_degrees
            valid = (angles >= low) & (angles <= high) & (np.abs(degrees) <= TURN * ROUNDED)
        return np.asarray(PARTS[part](np.deg2rad(np.where(valid, degrees, np.nan))), dtype=np.float32)

    return of
