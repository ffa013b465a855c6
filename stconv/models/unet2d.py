"""A residual U-Net in two dimensions with frames as channels."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models.registry import Network, register
from stconv.models.residual import frame_block
from stconv.nn.conv import Convolution
from stconv.nn.frames import StackFrames
from stconv.nn.heads import LeadHead
from stconv.nn.kinds import Kind, maker_of
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.pyramid import Finer, PadToMultiple
from stconv.nn.residual import start_at_zero
from stconv.nn.settings import check_count, check_odd
from stconv.nn.stencils import Filters, first_filters

GROUP = 8
"""Divisor of the channels of every level, so that they can be divided into the groups of `group`."""


@register
class UNet2D(Network):
    """Residual blocks on successively coarser grids and back, over all frames as channels of one field.

    Each level has half the resolution of the one above and `growth` times its channels. In the decoder the
    coarse field, interpolated and projected, is added to the finer one. As in `ResNet2D`, the last
    convolutions of each block and of the head start at zero: inside `LinearResidual`, training starts from
    its linear start. A grid of any size is padded to a multiple of 2^(n_levels - 1), and the forecast is
    cropped.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_levels: Number of levels, the full grid included.
        n_filters: Number of filters of the first level.
        growth: Ratio of the filters of a level to those of the level above; their number is rounded up to a
            multiple of 8.
        n_blocks: Number of residual blocks at the coarsest level; the others have one in the encoder and one
            in the decoder.
        kernel: Odd kernel size along lat and lon.
        norm: batch, group, layer or none; `group` sees the whole grid at once.
        dropout: Share of channels dropped inside each block, in training.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        convolution: Kind of every convolution except the head: full, factored, depthwise or separable.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Ronneberger et al. (2015), arXiv 1505.04597, with blocks of He et al. (2016), arXiv 1603.05027.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_levels: int = 3,
        n_filters: int = 32,
        growth: float = 1.5,
        n_blocks: int = 2,
        kernel: int = 3,
        norm: Norm = "group",
        dropout: float = 0.0,
        space_padding: GridPadding = "zero",
        convolution: Kind = "full",
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        check_count("n_filters", n_filters, where)
        check_count("n_blocks", n_blocks, where)
        if not growth >= 1:
            raise ConfigError(f"growth of {where} is {growth}; expected at least 1.")
        size = (1, check_odd("kernel", kernel, where), kernel)
        maker = maker_of(convolution, where)
        widths = [n_filters]
        for _ in range(check_count("n_levels", n_levels, where) - 1):
            widths.append(-(-round(widths[-1] * growth) // GROUP) * GROUP)

        def block(width: int) -> nn.Module:
            return frame_block(
                width, kernel, norm=norm, dropout=dropout, space_padding=space_padding, maker=maker
            )

        steps = list(pairwise(widths))
        self.frames = StackFrames()
        self.whole = PadToMultiple(2 ** (n_levels - 1), space_padding)
        self.stem = maker(
            c_in * t_in, n_filters, size, space_padding=space_padding, norm=norm, activation="gelu"
        )
        first_filters(self.stem, filters, where)
        self.down = nn.ModuleList(block(width) for width in widths[:-1])
        self.coarser = nn.ModuleList(
            maker(
                fine,
                coarse,
                size,
                stride=(1, 2, 2),
                space_padding=space_padding,
                norm=norm,
                activation="gelu",
            )
            for fine, coarse in steps
        )
        self.bottom = nn.Sequential(*(block(widths[-1]) for _ in range(n_blocks)))
        self.finer = nn.ModuleList(
            nn.Sequential(
                Convolution(coarse, fine, 1, bias=True, norm="none", activation="none"),
                Finer(space_padding),
            )
            for fine, coarse in steps
        )
        self.up = nn.ModuleList(block(width) for width in widths[:-1])
        self.head = LeadHead(n_filters, c_out, 1, leads, kernel, space_padding)
        start_at_zero(self.head.convolution)

    def compute(self, x: Tensor) -> Tensor:
        """Stack the frames, run encoder, decoder and head, and crop."""
        n_lat, n_lon = x.shape[-2:]
        y, levels = self.stem(self.frames(self.whole(x))), []
        for down, coarser in zip(self.down, self.coarser, strict=True):
            y = down(y)
            levels.append(y)
            y = coarser(y)
        y = self.bottom(y)
        for finer, up in zip(reversed(self.finer), reversed(self.up), strict=True):
            y = up(levels.pop() + finer(y))
        return self.head(y)[..., :n_lat, :n_lon]
