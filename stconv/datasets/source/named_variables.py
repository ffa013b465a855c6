"""Variables named by attributes of others: bounds, grid mappings, cell measures, ancillary variables.

Source: CF conventions 1.11, appendix A; the extended form of `grid_mapping`: section 5.6.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

NAMING = (
    "bounds",
    "climatology",
    "grid_mapping",
    "cell_measures",
    "formula_terms",
    "ancillary_variables",
    "coordinates",
)
"""Attributes that name variables, as words; a colon follows keys or, in `grid_mapping`, mappings."""
KEYED = ("cell_measures", "formula_terms")
MOST_DIMENSIONS = 2
"""Variables with more dimensions are data of their own, and are not taken along."""


def named_by(variable: xr.Variable, keys: Iterable[str] = NAMING) -> set[str]:
    """Find the variables that all or some attributes of a variable name."""
    found: set[str] = set()
    for key in keys:
        text = variable.attrs.get(key, variable.encoding.get(key))
        if isinstance(text, str):
            found |= set(_names(key, text))
    return found


def come_along(ds: xr.Dataset, fields: Iterable[str], time: Hashable | None) -> list[str]:
    """Find variables without time that fields and coordinates name, directly or through others.

    Args:
        ds: The dataset as it is in the file.
        fields: Names of its fields.
        time: Dimension of time, or None.
    """
    fields = set(fields)
    fitting = {
        str(name)
        for name, variable in ds.variables.items()
        if name not in fields
        and variable.ndim <= MOST_DIMENSIONS
        and (time is None or time not in variable.dims)
    }
    found: set[str] = set()
    coming = {*fields, *map(str, ds.coords)}
    while coming:
        named = set().union(*(named_by(ds.variables[name]) for name in coming))
        coming = (named & fitting) - found
        found |= coming
    return [str(name) for name in ds.variables if name in found]


def without_dangling(attrs: Mapping[Any, Any], present: Iterable[Hashable]) -> dict[Any, Any]:
    """Drop names of absent variables from attributes, and attributes that name only absent ones."""
    known = {str(name) for name in present}
    result = dict(attrs)
    for key in NAMING:
        text = result.get(key)
        if not isinstance(text, str) or set(_names(key, text)) <= known:
            continue
        kept = [name for name in _names(key, text) if name in known]
        if kept and key in ("ancillary_variables", "coordinates"):
            result[key] = " ".join(kept)
        else:
            del result[key]
    return result


def _names(key: str, text: str) -> list[str]:
    words = text.split()
    if key in KEYED:
        return [word for word in words if not word.endswith(":")]
    return [word.removesuffix(":") for word in words]
