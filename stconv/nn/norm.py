"""Normalization and activation layers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from stconv.nn.settings import check_choice

Norm = Literal["batch", "group", "layer", "none"]
Activation = Literal["leaky_relu", "relu", "gelu", "silu", "tanh", "sigmoid", "none"]

GROUPS = 8
"""Number of groups of a group normalization, or the largest number below it that divides the channels."""


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each cell and step, independent of the grid's size.

    Args:
        channels: Number of channels.

    Source:
        Ba et al. (2016), arXiv 1607.06450; per cell as in ConvNeXt, Liu et al. (2022), arXiv 2201.03545.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized tensor, (batch, channel, time, lat, lon)."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def make_norm(name: Norm, channels: int, where: str) -> nn.Module:
    """Return a normalization over (batch, channel, time, lat, lon).

    Raises:
        ConfigError: The name is unknown.
    """
    check_choice("norm", name, get_args(Norm), where)
    groups = max(g for g in range(1, GROUPS + 1) if channels % g == 0)
    makers: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm3d(channels),
        "group": lambda: nn.GroupNorm(groups, channels),
        "layer": lambda: ChannelNorm(channels),
        "none": nn.Identity,
    }
    return makers[name]()


def make_activation(name: Activation, where: str) -> nn.Module:
    """Return an activation; `leaky_relu` has the negative slope 0.01.

    Raises:
        ConfigError: The name is unknown.
    """
    check_choice("activation", name, get_args(Activation), where)
    makers: dict[str, Callable[[], nn.Module]] = {
        "leaky_relu": lambda: nn.LeakyReLU(0.01),
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "none": nn.Identity,
    }
    return makers[name]()
