"""The temporal layers of STConvS2S-R, which run through time from the newest frame to the oldest."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.cells import from_cells, in_cells, to_cells
from stconv.nn.conv import Convolution, ConvolutionMaker, Sizes
from stconv.nn.fast_paths import is_plain, takes_fast_paths
from stconv.nn.norm import Activation, Norm
from stconv.nn.padding import GridPadding, SpacePadding, TimePadding
from stconv.nn.settings import check_choice, check_triple


class Reversed(nn.Module):
    """Run a module on time-reversed frames, and reverse its output.

    Args:
        module: Module over (batch, channel, time, lat, lon) that keeps the number of steps.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, time, lat, lon) to (batch, channel', time, lat', lon')."""
        y: Tensor = self.module(x.flip(2))
        return y.flip(2)


class Replicated(nn.Module):
    """A convolution over two steps whose last output is repeated, so that the number of steps is kept.

    Args:
        convolution: A block that is valid in time with two taps.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, time, lat, lon), time >= 2, to (batch, c_out, time, lat', lon')."""
        y: Tensor = self.convolution(x)
        return torch.cat((y, y[:, :, -1:]), dim=2)


class SpreadDifference(torch.autograd.Function):
    """Compute (a - b[0], ..., a - b[k-2], a - b[k-2]) in one pass, without the copy that `Replicated` makes.

    Args:
        a: Minuend, one step, (lat, lon, batch, 1, channel).
        b: Subtrahends, k-1 steps, (lat, lon, batch, k-1, channel).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Return the k differences."""
        y = a.new_empty(*b.shape[:3], b.shape[3] + 1, b.shape[4])
        torch.sub(a, b, out=y[..., :-1, :])
        torch.sub(a, b[..., -1:, :], out=y[..., -1:, :])
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients; the last step of b is used twice."""
        *first, before_last, last = dy.unbind(3)
        return dy.sum(3, keepdim=True), torch.stack((*first, before_last + last), 3).neg_()


class TwoBranch(nn.Module):
    """A convolution over k steps whose last output is extended to the last k steps by a second one.

    A is `whole` over all t steps (t-k+1 out), B is `last` over the last k steps (k out):
    y = (A[0], ..., A[t-k-1], A[t-k] - B[0], ..., A[t-k] - B[k-1])

    Args:
        whole: Branch A, valid in time with k taps.
        last: Branch B, as many steps out as in.
        span: k, at most the number of steps.

    Source:
        Castro et al. (2021), Neurocomputing 426, the layer of STConvS2S-R.
    """

    def __init__(self, whole: nn.Module, last: Replicated, span: int) -> None:
        super().__init__()
        self.whole, self.last, self.span = whole, last, span

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, time, lat, lon), time >= k, to (batch, c_out, time, lat', lon')."""
        whole = self.whole(x)
        plain = takes_fast_paths(x, whole) and is_plain(self.last, Replicated)
        if plain and x.shape[2] == self.span and in_cells(whole):
            last = self.last.convolution(x)
            return from_cells(SpreadDifference.apply(to_cells(whole), to_cells(last)))  # type: ignore[no-untyped-call]
        last = self.last(x[:, :, -self.span :])
        return torch.cat((whole[:, :, :-1], whole[:, :, -1:] - last), dim=2)


def reversal_layer(
    c_in: int,
    c_out: int,
    kernel: Sizes,
    *,
    stride: Sizes = 1,
    dilation: Sizes = 1,
    time_padding: TimePadding = "symmetric",
    space_padding: SpacePadding = "zero",
    bias: bool = False,
    norm: Norm = "batch",
    activation: Activation = "leaky_relu",
    maker: ConvolutionMaker = Convolution,
) -> nn.Module:
    """Return a layer of STConvS2S-R with a kernel of k steps, which keeps the number of steps.

    For k >= 3 there are two branches, A with the kernel (k, h, w) and B with (2, 1, 1). For k = 2 there is
    only B, with the kernel (2, h, w), and for k = 1 only A. The arguments are those of `Convolution`, and
    `maker`, the maker of the convolutions.

    Raises:
        ConfigError: A setting is out of its range, or is not supported by this layer: a stride, a dilation,
            another padding of time than its own, or space without padding.
    """
    where = "reversal_layer"
    k, _, _ = size = check_triple("kernel", kernel, where)
    check_choice("space_padding", space_padding, get_args(GridPadding), where)
    found = (check_triple("stride", stride, where), check_triple("dilation", dilation, where), time_padding)
    only = ((1, 1, 1), (1, 1, 1), "symmetric")
    for name, value, expected in zip(("stride", "dilation", "time_padding"), found, only, strict=True):
        if value != expected:
            raise ConfigError(
                f"{name} of {where} is {value!r}; expected {expected!r}, since it keeps every step and cell. "
                f"Leave {name} at its default."
            )

    def branch(taps: tuple[int, int, int]) -> nn.Module:
        return maker(
            c_in, c_out, taps, time_padding="valid", space_padding=space_padding,
            bias=bias, norm=norm, activation=activation,
        )  # fmt: skip

    if k == 1:
        return branch(size)
    if k == 2:
        return Replicated(branch(size))
    return TwoBranch(branch(size), Replicated(branch((2, 1, 1))), k)
