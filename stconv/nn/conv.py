"""Convolution blocks (convolution, normalization, activation) that share one constructor signature.

A network family takes any `ConvolutionMaker`, so that an architecture is a choice of makers, channels and
kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stconv.errors import ConfigError
from stconv.nn.conv3d import Conv3d
from stconv.nn.fast_paths import is_plain, takes_fast_paths
from stconv.nn.fused import activate_, folded, is_constant, normalized, slope_of
from stconv.nn.norm import Activation, Norm, make_activation, make_norm
from stconv.nn.padding import SpacePadding, Steps, TimePadding, plan_padding
from stconv.nn.settings import check_count, check_triple

Sizes = int | Sequence[int]
"""One size for time, lat and lon together, or three sizes."""


class ConvolutionMaker(Protocol):
    """A callable that builds a block from c_in to c_out channels, as every block class here is."""

    def __call__(
        self,
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
    ) -> nn.Module:
        """Build the block."""
        ...


class Convolution(nn.Module):
    """A 3D convolution followed by normalization and activation.

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels (filters).
        kernel: Size along (time, lat, lon), or one size for all.
        stride: Step along each axis; an axis of W cells gives floor((W - K + P) / stride) + 1, where K is the
            dilated kernel and P the padding of both sides together.
        dilation: Distance between taps along each axis.
        time_padding: symmetric, causal or valid (see `stconv.nn.padding`), or numbers of steps (before,
            after); a negative number drops frames.
        space_padding: zero, replicate, periodic or valid.
        bias: Whether to add a learned constant per output channel; superfluous before batch normalization.
        norm: batch, group, layer or none.
        activation: leaky_relu, relu, gelu, silu, tanh, sigmoid or none.
        groups: Number of groups of channels that are convolved separately; c_in groups make it depthwise.

    Raises:
        ConfigError: A setting is out of its range, or contradicts another.
    """

    recompute = False
    """Whether the block is computed again in the backward pass, see `stconv.nn.memory.recompute`."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: Sizes,
        *,
        stride: Sizes = 1,
        dilation: Sizes = 1,
        time_padding: TimePadding | Steps = "symmetric",
        space_padding: SpacePadding = "zero",
        bias: bool = False,
        norm: Norm = "batch",
        activation: Activation = "leaky_relu",
        groups: int = 1,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_count("c_in", c_in, where)
        check_count("c_out", c_out, where)
        if c_in % check_count("groups", groups, where) or c_out % groups:
            raise ConfigError(
                f"groups of {where} is {groups}; expected a divisor of both c_in ({c_in}) "
                f"and c_out ({c_out})."
            )
        size = check_triple("kernel", kernel, where)
        step, reach = check_triple("stride", stride, where), check_triple("dilation", dilation, where)
        self.pad, own, around = plan_padding(size, reach, time_padding, space_padding, where)
        self.conv = Conv3d(c_in, c_out, size, step, own, reach, groups, bias=bias)
        self.conv.around = around
        self.norm = make_norm(norm, c_out, where)
        self.activation = make_activation(activation, where)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, time, lat, lon) to (batch, c_out, time', lat', lon')."""
        if self.recompute and self.training and torch.is_grad_enabled():
            contexts = partial(_second_run, self.norm)
            y: Tensor = checkpoint(self._run, x, use_reentrant=False, context_fn=contexts)
            return y
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        x = self.pad(x)
        if self._is_one_step(x):
            y = self.conv._conv_forward(x, *folded(self.conv, self.norm))
            slope = slope_of(self.activation)
            return self.activation(y) if slope is None else activate_(y, slope)
        return normalized(self.conv(x), self.norm, self.activation)

    def _is_one_step(self, x: Tensor) -> bool:
        """Whether the normalization can be folded into the convolution."""
        return (
            is_constant(self.norm)
            and is_plain(self.conv, Conv3d)
            and takes_fast_paths(x, self.conv.weight, *self.norm.parameters())
        )


def _second_run(norm: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts for both runs of a block; the second run does not update the running statistics."""
    return nullcontext(), _without_statistics(norm)


@contextmanager
def _without_statistics(norm: nn.Module) -> Iterator[None]:
    if not isinstance(norm, nn.BatchNorm3d) or norm.num_batches_tracked is None:
        yield
        return
    momentum, count = norm.momentum, norm.num_batches_tracked.clone()
    norm.momentum = 0.0
    try:
        yield
    finally:
        norm.momentum = momentum
        norm.num_batches_tracked.copy_(count)


def middle_width(c_in: int, c_out: int, kernel: Sequence[int]) -> int:
    """Return the channels between the halves of a (2+1)D convolution that make it cost as much as a 3D one.

    M = floor(t h w c_in c_out / (h w c_in + t c_out)), at least 1

    Args:
        c_in: Number of input channels.
        c_out: Number of output channels.
        kernel: Size (t, h, w) of the 3D kernel that is factored.

    Source:
        Tran et al. (2018), arXiv 1711.11248, section 3.5.
    """
    t, h, w = kernel
    return max(1, (t * h * w * c_in * c_out) // (h * w * c_in + t * c_out))


class Factored(nn.Sequential):
    """A (2+1)D convolution: first in space, (1, h, w), then in time, (t, 1, 1).

    Each half is a `Convolution` with its own normalization and activation. `middle_width` gives the number of
    channels between them. The arguments are those of `Convolution`.

    Raises:
        ConfigError: A setting is out of its range, or contradicts another.

    Source:
        Tran et al. (2018), arXiv 1711.11248, R(2+1)D.
    """

    def __init__(
        self,
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
    ) -> None:
        where = type(self).__name__
        t, h, w = check_triple("kernel", kernel, where)
        stride_t, *stride_space = check_triple("stride", stride, where)
        dilation_t, *dilation_space = check_triple("dilation", dilation, where)
        middle = middle_width(check_count("c_in", c_in, where), check_count("c_out", c_out, where), (t, h, w))
        super().__init__()
        self.space = Convolution(
            c_in, middle, (1, h, w), stride=(1, *stride_space), dilation=(1, *dilation_space),
            space_padding=space_padding, bias=bias, norm=norm, activation=activation,
        )  # fmt: skip
        self.time = Convolution(
            middle, c_out, (t, 1, 1), stride=(stride_t, 1, 1), dilation=(dilation_t, 1, 1),
            time_padding=time_padding, bias=bias, norm=norm, activation=activation,
        )  # fmt: skip


class LightFactored(nn.Sequential):
    """A (2+1)D convolution with c_out channels between its halves, normalized and activated once.

    It takes (h w c_in + t c_out) / (t h w c_in) of the multiply-adds of the full convolution, and half of the
    normalizations of `Factored`. Without taps in time it is a single convolution. The arguments are those of
    `Convolution`.

    Raises:
        ConfigError: A setting is out of its range, or contradicts another.
    """

    def __init__(
        self,
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
    ) -> None:
        where = type(self).__name__
        t, h, w = check_triple("kernel", kernel, where)
        stride_t, *stride_space = check_triple("stride", stride, where)
        dilation_t, *dilation_space = check_triple("dilation", dilation, where)
        alone = (t, stride_t) == (1, 1)
        super().__init__()
        self.space = Convolution(
            c_in, c_out, (1, h, w), stride=(1, *stride_space), dilation=(1, *dilation_space),
            space_padding=space_padding, bias=bias and alone,
            norm=norm if alone else "none", activation=activation if alone else "none",
        )  # fmt: skip
        if not alone:
            self.time = Convolution(
                c_out, c_out, (t, 1, 1), stride=(stride_t, 1, 1), dilation=(dilation_t, 1, 1),
                time_padding=time_padding, bias=bias, norm=norm, activation=activation,
            )  # fmt: skip
