"""Conversion of an upload to a Dataset of stored, undecoded values."""

from __future__ import annotations

import xarray as xr

from service.wire.codec import decode


def stored_dataset(fields: bytes) -> xr.Dataset:
    """Make a Dataset of raw variables, as `xr.open_dataset(..., decode_cf=False)` does of their file.

    Args:
        fields: Raw variables, encoded by `wire.codec.encode`.

    Raises:
        ValueError: The variables disagree on the size of a dimension.
    """
    variables, attrs = decode(fields)
    return xr.Dataset({name: (v.dims, v.values, v.attrs) for name, v in variables.items()}, attrs=attrs)
