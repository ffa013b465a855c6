"""Residual networks, in (2+1)D and in two dimensions with frames as channels."""

from __future__ import annotations

from torch import Tensor, nn

from stconv.models.registry import Network, register
from stconv.nn.frames import StackFrames
from stconv.nn.heads import LeadHead
from stconv.nn.kinds import Kind, maker_of
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.residual import residual_block, start_at_zero, zero_residual
from stconv.nn.settings import check_count, check_odd
from stconv.nn.stencils import Filters, first_filters


@register
class ResNet2Plus1D(Network):
    """A (2+1)D convolution, residual blocks of two such convolutions, and a head with filters for each lead.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of residual blocks.
        n_filters: Number of filters of each convolution.
        kernel: Odd kernel size along time, lat and lon.
        norm: batch, group, layer or none; `group` sees the whole grid at once.
        dropout: Share of channels dropped inside each block, in training.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        convolution: Kind of every convolution except the head: full, factored, depthwise or separable.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Tran et al. (2018), arXiv 1711.11248, R(2+1)D, without its strides.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_layers: int = 3,
        n_filters: int = 32,
        kernel: int = 3,
        norm: Norm = "batch",
        dropout: float = 0.0,
        space_padding: GridPadding = "zero",
        convolution: Kind = "factored",
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        d, where = n_filters, type(self).__name__
        check_odd("kernel", kernel, where)
        maker = maker_of(convolution, where)
        self.stem = maker(c_in, d, kernel, norm=norm, space_padding=space_padding)
        first_filters(self.stem, filters, where)
        self.blocks = nn.Sequential(
            *(
                residual_block(maker, d, d, kernel, norm=norm, dropout=dropout, space_padding=space_padding)
                for _ in range(check_count("n_layers", n_layers, where))
            )
        )
        self.head = LeadHead(d, c_out, t_in, leads, kernel, space_padding)

    def compute(self, x: Tensor) -> Tensor:
        """Run stem, blocks and head."""
        y: Tensor = self.head(self.blocks(self.stem(x)))
        return y


@register
class ResNet2D(Network):
    """Residual blocks over all frames as channels of one field; small and not prone to overfitting.

    A stem (1, k, k) is followed by a block x + W2 * drop(gelu(norm(W1 * x))) with kernels (1, k, k) for each
    dilation, and a head (1, k, k). The last convolutions of each block and of the head start at zero, so that
    training starts from a forecast of zero: from persistence inside `Increment`, from the linear start
    inside `LinearResidual`.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        dilations: Distance between taps for each block; their number is the number of blocks.
        n_filters: Number of filters of each convolution.
        kernel: Odd kernel size along lat and lon.
        norm: batch, group, layer or none; `group` sees the whole grid at once.
        dropout: Share of channels dropped inside each block, in training.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        convolution: Kind of every convolution except the head: full, factored, depthwise or separable.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        dilations: tuple[int, ...] | list[int] = (1, 2, 4),
        n_filters: int = 32,
        kernel: int = 3,
        norm: Norm = "group",
        dropout: float = 0.0,
        space_padding: GridPadding = "zero",
        convolution: Kind = "full",
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        d, where = n_filters, type(self).__name__
        size, maker = (1, check_odd("kernel", kernel, where), kernel), maker_of(convolution, where)
        self.frames = StackFrames()
        self.stem = maker(c_in * t_in, d, size, space_padding=space_padding, norm=norm, activation="gelu")
        first_filters(self.stem, filters, where)
        self.blocks = nn.Sequential(
            *(
                zero_residual(
                    d,
                    size,
                    dilation=(1, dilation, dilation),
                    norm=norm,
                    dropout=dropout,
                    space_padding=space_padding,
                    maker=maker,
                )
                for dilation in dilations
            )
        )
        self.head = LeadHead(d, c_out, 1, leads, kernel, space_padding)
        start_at_zero(self.head.convolution)

    def compute(self, x: Tensor) -> Tensor:
        """Stack the frames, run stem, blocks and head."""
        y: Tensor = self.head(self.blocks(self.stem(self.frames(x))))
        return y
