"""An upload as a Dataset, its values and attributes as they are stored."""

from __future__ import annotations

import xarray as xr

from service.wire.codec import decode


def stored_dataset(fields: bytes) -> xr.Dataset:
    """Make a Dataset of raw variables, as `xr.open_dataset(..., decode_cf=False)` does of their file.

    Args:
        fields: Raw variables, as `wire.codec.encode` writes them.

    Raises:
        ValueError: The variables contradict each other.
    """
    variables, attrs = decode(fields)
    return xr.Dataset({name: (v.dims, v.values, v.attrs) for name, v in variables.items()}, attrs=attrs)
