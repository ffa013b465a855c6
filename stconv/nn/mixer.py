"""Blocks that mix cells and channels in turn, the translators of `FrameMixer`."""

from __future__ import annotations

from torch import Tensor, nn

from stconv.nn.conv import Convolution
from stconv.nn.norm import Norm, make_norm
from stconv.nn.padding import GridPadding
from stconv.nn.residual import Residual


def _depthwise(channels: int, kernel: int, dilation: int, space_padding: GridPadding) -> Convolution:
    return Convolution(
        channels, channels, (1, kernel, kernel), dilation=(1, dilation, dilation), groups=channels,
        space_padding=space_padding, bias=True, norm="none", activation="none",
    )  # fmt: skip


def conv_mixer(
    channels: int, kernel: int = 7, norm: Norm = "batch", space_padding: GridPadding = "zero"
) -> nn.Sequential:
    """Return a ConvMixer block: a depthwise convolution with a shortcut, then a pointwise one.

    y = x + norm(gelu(depthwise(x)));  norm(gelu(pointwise(y)))

    Source:
        Trockman and Kolter (2022), arXiv 2201.09792, section 2.
    """
    cells = Convolution(
        channels, channels, (1, kernel, kernel), groups=channels, space_padding=space_padding,
        bias=True, norm="none", activation="gelu",
    )  # fmt: skip
    mix = Convolution(channels, channels, 1, bias=True, norm="none", activation="gelu")
    where = "conv_mixer"
    return nn.Sequential(
        Residual(nn.Sequential(cells, make_norm(norm, channels, where))),
        mix,
        make_norm(norm, channels, where),
    )


class GatedAttention(nn.Module):
    """Gated attention with a large kernel, which is composed of two small depthwise ones.

    a, g = W * dilated(local(x));  y = sigmoid(g) a

    The local kernel is (5, 5), the dilated one (7, 7) with dilation 3; together a cell sees 23 x 23 cells.

    Args:
        channels: Number of channels, in and out.
        space_padding: zero, replicate or periodic.

    Source:
        Tan et al. (2022), arXiv 2211.12509, section 3.3.
    """

    def __init__(self, channels: int, space_padding: GridPadding = "zero") -> None:
        super().__init__()
        self.local = _depthwise(channels, 5, 1, space_padding)
        self.dilated = _depthwise(channels, 7, 3, space_padding)
        self.mix = Convolution(channels, 2 * channels, 1, bias=True, norm="none", activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, 1, lat, lon) to the same shape."""
        attention, gate = self.mix(self.dilated(self.local(x))).chunk(2, 1)
        y: Tensor = gate.sigmoid() * attention
        return y


def gated_block(
    channels: int, norm: Norm = "batch", space_padding: GridPadding = "zero", expansion: int = 2
) -> nn.Sequential:
    """Return a gSTA block: gated attention, then a feed-forward part over channels, each with a shortcut.

    Source:
        Tan et al. (2022), arXiv 2211.12509, section 3.3.
    """
    wide = expansion * channels
    attention = nn.Sequential(
        Convolution(channels, channels, 1, bias=True, norm=norm, activation="gelu"),
        GatedAttention(channels, space_padding),
    )
    feed_forward = nn.Sequential(
        Convolution(channels, wide, 1, bias=True, norm=norm, activation="none"),
        Convolution(wide, wide, (1, 3, 3), groups=wide, space_padding=space_padding,
                    bias=True, norm="none", activation="gelu"),
        Convolution(wide, channels, 1, bias=True, norm="none", activation="none"),
    )  # fmt: skip
    return nn.Sequential(Residual(attention), Residual(feed_forward))
