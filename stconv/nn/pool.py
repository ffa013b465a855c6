"""Pooling over windows of steps and cells."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.conv import Sizes
from stconv.nn.settings import check_choice, check_triple

Pooling = Literal["max", "min", "average", "sum"]


class Pool(nn.Module):
    """Maximum, minimum, average or sum over each window, separately for each channel.

    An axis of W values gives floor((W - kernel + 2 padding) / stride) + 1. Windows overlap if the stride is
    smaller than the kernel. Padding is ignored by the maximum and minimum and counts as zeros in a sum or an
    average, as in torch.

    Args:
        kind: max, min, average or sum.
        kernel: Size along (time, lat, lon), or one size for all.
        stride: Step along each axis; by default the kernel size, so that windows do not overlap.
        padding: Steps, rows and columns added on either side, at most half of the kernel.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(self, kind: Pooling, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        where = type(self).__name__
        self.kind = check_choice("kind", kind, get_args(Pooling), where)
        self.kernel = check_triple("kernel", kernel, where)
        self.stride = check_triple("stride", self.kernel if stride is None else stride, where)
        self.padding = check_triple("padding", padding, where, at_least=0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise ConfigError(
                f"padding of {where} is {self.padding}, more than half of the kernel {self.kernel}; a window "
                "would hold nothing but padding. Pad less, or pool with a larger kernel."
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, time, lat, lon) to (batch, channel, time', lat', lon')."""
        if self.kind == "max":
            return F.max_pool3d(x, self.kernel, self.stride, self.padding)
        if self.kind == "min":
            return -F.max_pool3d(-x, self.kernel, self.stride, self.padding)
        divisor = 1 if self.kind == "sum" else None
        return F.avg_pool3d(x, self.kernel, self.stride, self.padding, divisor_override=divisor)

    def open_paths(self) -> None:
        """Average, so that every value in a window has a gradient: `stconv.nn.probing`."""
        self.kind = "average"

    def extra_repr(self) -> str:
        """Return the settings shown when the module is printed."""
        return f"{self.kind}, kernel={self.kernel}, stride={self.stride}, padding={self.padding}"
