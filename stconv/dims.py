"""The convention of dimension names and their order, and the check of a tensor against it.

| side   | order                             | type                       |
|--------|-----------------------------------|----------------------------|
| xarray | time, lat, lon (or time, y, x)    | as in the file, then float32 |
| tensor | batch, channel, time, lat, lon    | float32                    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stconv.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

TIME = "time"
LAT, LON = "lat", "lon"
"""Spatial dimensions of a geographic grid."""
Y, X = "y", "x"
"""Spatial dimensions of a projected or pixel grid."""
LEAD = "lead"
"""Lead time after the reference time, in a forecast."""

TENSOR_DIMS = ("batch", "channel", "time", "lat", "lon")


def check_tensor(x: Tensor, name: str, *, dtype: str = "torch.float32", **sizes: int | None) -> None:
    """Check that a tensor is (batch, channel, time, lat, lon) and has the expected type and sizes.

    Args:
        x: The tensor to check.
        name: Name of the tensor in messages.
        dtype: Expected type, as torch prints it.
        **sizes: Expected size by dimension name, for example ``channel=3``; None allows any size.

    Raises:
        ShapeError: The number of dimensions, the type or a size differs.
    """
    if x.ndim != len(TENSOR_DIMS):
        raise ShapeError(
            f"{name} has {x.ndim} dimensions {tuple(x.shape)}; expected {len(TENSOR_DIMS)}: {TENSOR_DIMS}."
        )
    if str(x.dtype) != dtype:
        raise ShapeError(f"{name} is {x.dtype}; expected {dtype}. Convert it with `.to({dtype})`.")
    for dim, expected in sizes.items():
        found = x.shape[TENSOR_DIMS.index(dim)]
        if expected is not None and found != expected:
            raise ShapeError(
                f"{name} has {found} along '{dim}', expected {expected}; its shape is {tuple(x.shape)}."
            )
