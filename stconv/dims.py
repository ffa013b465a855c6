"""THE convention: dimension names, their order, and the checks that hold data to it.

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
    """Hold a tensor to (batch, channel, time, lat, lon), to a type, and to the sizes named.

    Args:
        x: The tensor to check.
        name: What to call it in a message.
        dtype: Expected type, as torch prints it.
        **sizes: Expected size by dimension name, for example ``channel=3``; None is any size.

    Raises:
        ShapeError: Another number of dimensions, another type, or another size.
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
