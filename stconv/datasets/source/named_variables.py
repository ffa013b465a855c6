"""Variables that attributes of others name: bounds, grid mappings, cell measures, ancillary variables.

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
"""Attributes that name variables: words, with a colon behind keys or, in `grid_mapping`, behind mappings."""
KEYED = ("cell_measures", "formula_terms")
MOST_DIMENSIONS = 2
"""Variables of more dimensions are data of their own, and do not come along."""


def named_by(variable: xr.Variable, keys: Iterable[str] = NAMING) -> set[str]:
    """Names of the variables that the attributes of a variable name, all of them or some."""
    found: set[str] = set()
    for key in keys:
        text = variable.attrs.get(key, variable.encoding.get(key))
        if isinstance(text, str):
            found |= set(_names(key, text))
    return found


def come_along(ds: xr.Dataset, fields: Iterable[str], time: Hashable | None) -> list[str]:
    """Variables without time that fields and coordinates name, also by way of others.

    Args:
        ds: The dataset as it is in the file.
        fields: Its fields.
        time: Dimension of time, if there is one.
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
    """Attributes without those that name variables which are not there; of a list, what is there stays."""
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
