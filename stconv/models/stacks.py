"""Plain stacks of convolutions: the 3D and (2+1)D baselines of the STConvS2S paper, and mixed stacks."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from stconv.models.registry import Network, register
from stconv.nn.kinds import Kind, maker_of
from stconv.nn.leads import Alignment, features_to_leads
from stconv.nn.mixed import mixed
from stconv.nn.norm import Norm
from stconv.nn.padding import GridPadding
from stconv.nn.residual import channel_dropout, start_at_zero
from stconv.nn.settings import check_count, check_odd
from stconv.nn.stack import stack
from stconv.nn.stencils import Filters, first_filters


class ConvolutionStack(Network):
    """A stack of convolutions with a head.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of convolutions before the head.
        n_filters: Number of filters of each convolution.
        kernel: Odd kernel size along time, lat and lon.
        alignment: `lead`: every lead sees every frame. `paper`: as published, lead l is step l.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        dropout: Share of channels dropped after the layers, in training.
        norm: Normalization of the layers: batch (as published), group, layer or none.
        zero_head: Whether the head starts at zero, so that training inside `LinearResidual` starts from the
            linear start.
        convolution: Kind of every convolution but the head: full, factored, depthwise, or separable along
            the axes; by default that of the class.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range.
    """

    kind: ClassVar[Kind]
    """Default kind of the convolutions."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_layers: int = 3,
        n_filters: int = 32,
        kernel: int = 5,
        alignment: Alignment = "lead",
        space_padding: GridPadding = "zero",
        dropout: float = 0.0,
        norm: Norm = "batch",
        zero_head: bool = False,
        convolution: Kind | None = None,
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        check_odd("kernel", kernel, where)
        channels = [check_count("n_filters", n_filters, where)] * check_count("n_layers", n_layers, where)
        maker = maker_of(convolution or self.kind, where)
        self.features = stack(maker, c_in, channels, kernel, norm=norm, space_padding=space_padding)
        first_filters(self.features, filters, where)
        self.dropout = channel_dropout(dropout)
        self.generator, self.head = features_to_leads(
            alignment, n_filters, c_out, t_in, leads, kernel, space_padding
        )
        if zero_head:
            start_at_zero(self.head)

    def compute(self, x: Tensor) -> Tensor:
        """Run layers, generator (if any) and head."""
        y: Tensor = self.head(self.generator(self.dropout(self.features(x))))
        return y


@register
class Conv3D(ConvolutionStack):
    """A stack of 3D convolutions (k, k, k)."""

    kind = "full"


@register
class Conv2Plus1D(ConvolutionStack):
    """A stack of (2+1)D convolutions, (1, k, k) then (k, 1, 1), each at the cost of a 3D one."""

    kind = "factored"


@register
class MixedConv(Network):
    """A stack in which some layers convolve in 3D and the others in space alone, such as MC3 and rMC3.

    In MC the layers near the input see time; in rMC (`time_last`) those near the head do.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of convolutions before the head.
        n_3d: Number of 3D convolutions among them.
        time_last: Whether the 3D convolutions are the last ones instead of the first.
        n_filters: Number of filters of each convolution.
        kernel: Odd kernel size along time, lat and lon.
        alignment: `lead`: every lead sees every frame. `paper`: lead l is step l.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        dropout: Share of channels dropped after the layers, in training.
        norm: Normalization of the layers: batch (as published), group, layer or none.
        zero_head: Whether the head starts at zero, so that training inside `LinearResidual` starts from the
            linear start.
        convolution: Kind of every convolution except the head: full, factored, depthwise or separable.
        filters: Stencil, such as `sobel`, or list of stencils that the first convolution starts from; random
            by default.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Tran et al. (2018), arXiv 1711.11248, section 3.4.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_layers: int = 4,
        n_3d: int = 2,
        time_last: bool = False,
        n_filters: int = 32,
        kernel: int = 3,
        alignment: Alignment = "lead",
        space_padding: GridPadding = "zero",
        dropout: float = 0.0,
        norm: Norm = "batch",
        zero_head: bool = False,
        convolution: Kind = "full",
        filters: Filters = None,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        check_odd("kernel", kernel, where)
        channels = [check_count("n_filters", n_filters, where)] * check_count("n_layers", n_layers, where)
        makers = mixed(n_layers, n_3d, time_last=time_last, maker=maker_of(convolution, where))
        self.features = stack(makers, c_in, channels, kernel, norm=norm, space_padding=space_padding)
        first_filters(self.features, filters, where)
        self.dropout = channel_dropout(dropout)
        self.generator, self.head = features_to_leads(
            alignment, n_filters, c_out, t_in, leads, kernel, space_padding
        )
        if zero_head:
            start_at_zero(self.head)

    def compute(self, x: Tensor) -> Tensor:
        """Run layers, generator (if any) and head."""
        y: Tensor = self.head(self.generator(self.dropout(self.features(x))))
        return y
