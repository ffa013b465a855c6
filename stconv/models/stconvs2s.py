"""STConvS2S-R and -C, with the ablations of the paper as options."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models.registry import Network, register
from stconv.nn.kinds import Kind, maker_of
from stconv.nn.leads import Alignment, features_to_leads
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.residual import channel_dropout, start_at_zero
from stconv.nn.reversal import Reversed, reversal_layer
from stconv.nn.settings import check_choice, check_count, check_odd
from stconv.nn.stack import stack, widening
from stconv.nn.stencils import Filters, first_filters

Variant = Literal["R", "C", "symmetric", "spatial"]


@register
class STConvS2S(Network):
    """A temporal block, a spatial block, and a head.

    With `alignment` "paper" it is exactly the published network: lead l is step l, a generator lengthens the
    features if there are more leads than input frames, and in variant C lead 1 sees only the oldest frames.
    By default a head with separate filters for each lead lets every lead see every frame, without a
    generator.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        variant: Temporal block: `R` reversed (with a kernel of at most t_in steps), `C` causal, `symmetric`,
            or `spatial` for none.
        n_layers: Number of layers of each block.
        n_filters: Number of filters d of the last layer of each block.
        kernel: Odd kernel size k.
        alignment: `lead` or `paper`.
        widen: Whether the layers of a block have 2d, 4d, ..., d channels; otherwise all have d.
        factored: Whether to use convolutions (k, 1, 1) in the temporal and (1, k, k) in the spatial block;
            otherwise (k, k, k) in the temporal block, and no spatial block.
        spatial_first: Whether the spatial block precedes the temporal one.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        dropout: Share of channels dropped after the blocks, in training.
        norm: Normalization of the blocks: batch (as published), group, layer or none.
        zero_head: Whether the head starts at zero, so that training inside `LinearResidual` starts from the
            linear start.
        convolution: Kind of every convolution of the blocks: full (as published), factored, depthwise or
            separable.
        filters: Stencils that the first convolution starts from, such as `tendency` in the temporal block or
            `sobel` in the spatial one; random by default.

    Raises:
        ConfigError: A setting is out of its range, or no block is left.

    Source:
        Castro et al. (2021), Neurocomputing 426, 285-298; arXiv 1912.00134.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        variant: Variant = "R",
        n_layers: int = 3,
        n_filters: int = 32,
        kernel: int = 5,
        alignment: Alignment = "lead",
        widen: bool = True,
        factored: bool = True,
        spatial_first: bool = False,
        space_padding: GridPadding = "zero",
        dropout: float = 0.0,
        norm: Norm = "batch",
        zero_head: bool = False,
        convolution: Kind = "full",
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        self.variant = check_choice("variant", variant, get_args(Variant), where)
        check_odd("kernel", kernel, where)
        check_count("n_layers", n_layers, where)
        check_count("n_filters", n_filters, where)
        if variant == "spatial" and not factored:
            raise ConfigError(
                f"{where} without a temporal block (variant 'spatial') and not factored has no block left. "
                "Set factored to true, or name another variant."
            )
        maker = maker_of(convolution, where)
        channels = widening(n_filters, n_layers) if widen else [n_filters] * n_layers
        blocks = partial(stack, norm=norm, space_padding=space_padding)

        def temporal(c_before: int) -> nn.Module:
            across = 1 if factored else kernel
            if variant == "R":
                size = (min(kernel, t_in), across, across)
                layer = partial(reversal_layer, maker=maker)
                return Reversed(blocks(layer, c_before, channels, size))
            return blocks(
                maker, c_before, channels, (kernel, across, across),
                time_padding="causal" if variant == "C" else "symmetric",
            )  # fmt: skip

        def spatial(c_before: int) -> nn.Module:
            return blocks(maker, c_before, channels, (1, kernel, kernel))

        makers = {"temporal": temporal, "spatial": spatial}
        wanted = ["temporal"] * (variant != "spatial") + ["spatial"] * factored
        self.features = nn.Sequential()
        for name in reversed(wanted) if spatial_first else wanted:
            self.features.add_module(name, makers[name](n_filters if len(self.features) else c_in))
        first_filters(self.features, filters, where, backwards=isinstance(self.features[0], Reversed))
        self.dropout = channel_dropout(dropout)
        self.generator, self.head = features_to_leads(
            alignment, n_filters, c_out, t_in, leads, kernel, space_padding
        )
        if zero_head:
            start_at_zero(self.head)

    @property
    def display_name(self) -> str:
        """The class with its variant, such as STConvS2S-R."""
        return f"{type(self).__name__}-{self.variant}"

    def compute(self, x: Tensor) -> Tensor:
        """Run the blocks, the generator (if any) and the head."""
        y: Tensor = self.head(self.generator(self.dropout(self.features(x))))
        return y
