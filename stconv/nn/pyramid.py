"""Layers for networks on several grids: padding to a multiple, and doubling the resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from stconv.nn.padding import GridPadding


class PadToMultiple(nn.Module):
    """Pad lat and lon at their ends to a multiple, so that they can be halved without a remainder.

    Args:
        multiple: Number that divides the padded sizes.
        space_padding: With `periodic` the first columns follow the last ones; otherwise, and always along
            lat, the last cell is repeated.
    """

    def __init__(self, multiple: int, space_padding: GridPadding = "zero") -> None:
        super().__init__()
        self.multiple, self.space_padding = multiple, space_padding

    @property
    def grid_period(self) -> int:
        """Cells along lat and lon after which the coarser grids repeat: `stconv.nn.probing`."""
        return self.multiple

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded tensor, (batch, channel, time, lat', lon')."""
        rows, columns = (-x.shape[-2] % self.multiple, -x.shape[-1] % self.multiple)
        x = F.pad(x, (0, 0, 0, rows, 0, 0), mode="replicate")
        wraps = self.space_padding == "periodic" and columns <= x.shape[-1]
        return F.pad(x, (0, columns, 0, 0, 0, 0), mode="circular" if wraps else "replicate")

    def extra_repr(self) -> str:
        """Return the settings shown when the module is printed."""
        return f"{self.multiple}, {self.space_padding}"


class Finer(nn.Upsample):
    """Double the cells along lat and lon by linear interpolation between cell centers.

    Args:
        space_padding: With `periodic` the first and last columns are neighbors, so that there is no seam;
            otherwise, and always along lat, the outermost cells are repeated beyond the edge.
    """

    def __init__(self, space_padding: GridPadding = "zero") -> None:
        super().__init__(scale_factor=(1, 2, 2), mode="trilinear")
        self.space_padding = space_padding

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, time, lat, lon) to (batch, channel, time, 2 lat, 2 lon)."""
        if self.space_padding != "periodic":
            return super().forward(x)
        return super().forward(F.pad(x, (1, 1, 0, 0, 0, 0), mode="circular"))[..., 2:-2]

    def extra_repr(self) -> str:
        """Return the settings shown when the module is printed."""
        return f"{super().extra_repr()}, {self.space_padding}"
