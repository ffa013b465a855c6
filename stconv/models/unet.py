"""A U-Net in (2+1)D."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from stconv.models.registry import Network, register
from stconv.nn.heads import LeadHead
from stconv.nn.kinds import Kind, maker_of
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.pool import Pool
from stconv.nn.pyramid import PadToMultiple
from stconv.nn.residual import channel_dropout, residual_block
from stconv.nn.settings import check_choice, check_count, check_odd
from stconv.nn.stack import stack
from stconv.nn.stencils import Filters, first_filters

Encoder = Literal["vgg", "resnet"]


@register
class UNet2Plus1D(Network):
    """Levels of (2+1)D convolutions, each with half the resolution and twice the channels of the one above.

    Time is not halved. A grid of any size is padded to a multiple of 2^(n_layers - 1), and the forecast is
    cropped.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of levels, the full grid included.
        n_filters: Number of filters of the first level.
        kernel: Odd kernel size along time, lat and lon.
        encoder: Levels of the encoder: two convolutions (`vgg`), or a residual block of two (`resnet`).
        norm: batch, group, layer or none; `group` sees the whole grid at once.
        dropout: Share of channels dropped after each level of the encoder, in training.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        convolution: Kind of every convolution except the head: full, factored, depthwise or separable.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Ronneberger et al. (2015), arXiv 1505.04597; convolutions of Tran et al. (2018), arXiv 1711.11248.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_layers: int = 3,
        n_filters: int = 16,
        kernel: int = 3,
        encoder: Encoder = "resnet",
        norm: Norm = "batch",
        dropout: float = 0.0,
        space_padding: GridPadding = "zero",
        convolution: Kind = "factored",
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        check_choice("encoder", encoder, get_args(Encoder), where)
        check_odd("kernel", kernel, where)
        check_count("n_filters", n_filters, where)
        maker = maker_of(convolution, where)
        widths = [n_filters * 2**i for i in range(check_count("n_layers", n_layers, where))]

        def level(before: int, after: int, shortcut: bool) -> nn.Module:
            if shortcut:
                return residual_block(maker, before, after, kernel, norm=norm, space_padding=space_padding)
            return stack(maker, before, [after, after], kernel, norm=norm, space_padding=space_padding)

        befores = [c_in, *widths[:-1]]
        self.whole = PadToMultiple(2 ** (n_layers - 1), space_padding)
        self.down = nn.ModuleList(
            nn.Sequential(level(before, after, encoder == "resnet"), channel_dropout(dropout))
            for before, after in zip(befores, widths, strict=True)
        )
        first_filters(self.down[0], filters, where)
        self.coarser = Pool("max", (1, 2, 2))
        self.finer = nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")
        self.up = nn.ModuleList(
            level(fine + coarse, fine, False)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = LeadHead(n_filters, c_out, t_in, leads, kernel, space_padding)

    def compute(self, x: Tensor) -> Tensor:
        """Run encoder, decoder and head, and crop."""
        n_lat, n_lon = x.shape[-2:]
        y, levels = self.whole(x), []
        for i, down in enumerate(self.down):
            y = down(self.coarser(y) if i else y)
            levels.append(y)
        for up, level in zip(self.up, reversed(levels[:-1]), strict=True):
            y = up(torch.cat((level, self.finer(y)), dim=1))
        return self.head(y)[..., :n_lat, :n_lon]
