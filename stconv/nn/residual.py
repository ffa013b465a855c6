"""Residual blocks, whose output is added to their input."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.conv import Convolution, ConvolutionMaker, Sizes
from stconv.nn.norm import Activation, Norm, make_activation
from stconv.nn.padding import GridPadding

Block = TypeVar("Block", bound=nn.Module)


class Residual(nn.Module):
    """Add a body to its input, or to a projection of it: y = activation(shortcut(x) + body(x)).

    Args:
        body: Module that computes the residual.
        shortcut: Module that brings the input to the body's channels and grid; an identity by default.
        activation: Activation of the sum.
    """

    def __init__(
        self, body: nn.Module, shortcut: nn.Module | None = None, activation: Activation = "none"
    ) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()
        self.activation = make_activation(activation, type(self).__name__)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, time, lat, lon) to the common output shape of body and shortcut."""
        y: Tensor = self.activation(self.shortcut(x) + self.body(x))
        return y


def residual_block(
    maker: ConvolutionMaker,
    c_in: int,
    c_out: int,
    kernel: Sizes,
    *,
    stride: Sizes = 1,
    norm: Norm = "batch",
    activation: Activation = "leaky_relu",
    dropout: float = 0.0,
    **settings: Any,
) -> Residual:
    """Return the basic block of ResNet: two convolutions with a shortcut around them.

    The second activation follows the sum. If channels or grid change, the shortcut is a convolution (1, 1, 1)
    with the same stride and normalization.

    Args:
        maker: Maker of the convolutions.
        c_in: Number of input channels.
        c_out: Number of output channels.
        kernel: Size along (time, lat, lon).
        stride: Step of the first convolution.
        norm: Normalization of every convolution.
        activation: Activation after the first convolution and after the sum.
        dropout: Share of channels dropped between the two convolutions, in training.
        **settings: Further keywords of the `ConvolutionMaker`.

    Source:
        He et al. (2016), arXiv 1512.03385, figure 2.
    """
    body = nn.Sequential(
        maker(c_in, c_out, kernel, stride=stride, norm=norm, activation=activation, **settings),
        channel_dropout(dropout),
        maker(c_out, c_out, kernel, norm=norm, activation="none", **settings),
    )
    same = c_in == c_out and (stride == 1 or (not isinstance(stride, int) and set(stride) == {1}))
    shortcut = None if same else Convolution(c_in, c_out, 1, stride=stride, norm=norm, activation="none")
    return Residual(body, shortcut, activation)


def zero_residual(
    width: int,
    kernel: Sizes,
    *,
    dilation: Sizes = 1,
    norm: Norm = "group",
    dropout: float = 0.0,
    space_padding: GridPadding = "zero",
    maker: ConvolutionMaker = Convolution,
) -> Residual:
    """Return x + W2 * drop(gelu(norm(W1 * x))), where W2 starts at zero.

    Args:
        width: Number of channels, in and out.
        kernel: Size along (time, lat, lon).
        dilation: Distance between taps along each axis.
        norm: Normalization after the first convolution.
        dropout: Share of channels dropped, in training.
        space_padding: Values beyond the grid.
        maker: Maker of the convolutions.

    Source:
        He et al. (2016), arXiv 1603.05027; initialization of Zhang et al. (2019), arXiv 1901.09321.
    """
    first = maker(
        width, width, kernel, dilation=dilation, space_padding=space_padding, norm=norm, activation="gelu"
    )
    last = maker(
        width, width, kernel, dilation=dilation, space_padding=space_padding,
        bias=True, norm="none", activation="none",
    )  # fmt: skip
    return Residual(nn.Sequential(first, channel_dropout(dropout), start_at_zero(last)))


def channel_dropout(share: float) -> nn.Module:
    """Return a layer that drops whole channels in training; an identity if the share is 0.

    Raises:
        ConfigError: The share is not in [0, 1).
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise ConfigError(f"dropout is {share!r}; expected a share of channels, at least 0 and below 1.")
    return nn.Dropout3d(share) if share else nn.Identity()


@torch.no_grad()
def start_at_zero(block: Block) -> Block:
    """Set the last convolution of a block to zero, so that a residual block starts as an identity.

    Returns:
        The block.
    """
    last = [module for module in block.modules() if isinstance(module, nn.Conv3d)][-1]
    for parameter in last.parameters():
        parameter.zero_()
    return block
