"""Networks that are settings of another one now, with their former arguments."""

from __future__ import annotations

import warnings

from stconv.models.registry import FORMER_CLASSES
from stconv.models.unet import Encoder, Maker, UNet
from stconv.nn.kinds import Kind
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.stencils import Filters


class UNet2Plus1D(UNet):
    """A `UNet` with the levels of the published one; an object of this class is a `UNet`.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: `n_levels` of `UNet`.
        n_filters: Number of filters of the first level; each further level has twice as many.
        kernel: `kernel` and `kernel_time` of `UNet`.
        encoder: resnet or vgg.
        norm: batch, group, layer or none.
        dropout: Share of channels dropped after each level of the encoder, in training.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        convolution: Kind of every convolution except the head.
        filters: Stencils that the first convolution starts from.

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
        maker: Maker = "2plus1d" if convolution == "factored" else "3d"
        warnings.warn(
            f"The network 'UNet2Plus1D' is now 'UNet' with `maker: {maker}`, `encoder: {encoder}`, "
            "`growth: 2`, `n_blocks: 1`, `merge: head` and `interpolation: nearest`. The former name is "
            "still understood; write the new one in configurations.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(
            c_in, c_out, t_in, leads, maker=maker,
            n_levels=n_layers, n_filters=n_filters, growth=2.0, n_blocks=1, kernel=kernel, kernel_time=kernel,
            merge="head", encoder=encoder, interpolation="nearest", norm=norm, dropout=dropout,
            space_padding=space_padding, convolution=convolution, filters=filters,
        )  # fmt: skip
        self.__class__ = UNet  # type: ignore[assignment]


FORMER_CLASSES["UNet2Plus1D"] = UNet2Plus1D
