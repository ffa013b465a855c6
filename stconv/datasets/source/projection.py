"""The projection that a file states, by which two planes with the same axes are told apart.

Source:
    CF conventions 1.11, section 5.6 and appendix F: grid mappings.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from stconv.datasets.source.attributes import plain_value
from stconv.datasets.source.origin import Origin, decode_attrs

NAME = "grid_mapping_name"
Projection = dict[str, Any]


def projection_of(ds: xr.Dataset, origin: Origin) -> Projection | None:
    """Return the attributes of the grid mapping of a canonical dataset; None if it states none."""
    for variable in ds.data_vars.values():
        known = origin.static.get(str(variable.attrs.get("grid_mapping", "")))
        if known is not None:
            found = decode_attrs(known["attrs"])
            return {key: plain_value(value) for key, value in found.items()} if NAME in found else None
    return None
