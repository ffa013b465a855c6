"""Convolutions that are cheaper because their kernel is a product, over channels or over axes."""

from __future__ import annotations

from torch import nn

from stconv.nn.conv import Convolution, Sizes
from stconv.nn.norm import Activation, Norm
from stconv.nn.padding import SpacePadding, TimePadding
from stconv.nn.settings import check_triple


class DepthwiseSeparable(nn.Sequential):
    """A depthwise separable convolution: each channel separately, then (1, 1, 1) across channels.

    Each half is a `Convolution` with its own normalization and activation. It takes 1/c_out + 1/(t h w) of
    the multiply-adds of the full convolution. The arguments are those of `Convolution`.

    Raises:
        ConfigError: A setting is out of its range, or contradicts another.

    Source:
        Howard et al. (2017), arXiv 1704.04861, section 3.1.
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
        super().__init__()
        self.depth = Convolution(
            c_in, c_in, kernel, stride=stride, dilation=dilation, time_padding=time_padding,
            space_padding=space_padding, bias=bias, norm=norm, activation=activation, groups=c_in,
        )  # fmt: skip
        self.point = Convolution(c_in, c_out, 1, bias=bias, norm=norm, activation=activation)


class AxisSeparable(nn.Sequential):
    """A spatially separable convolution: one along each axis with a kernel longer than 1 (lat, lon, time).

    Only the last has a bias, a normalization and an activation, so that with one channel the block equals the
    convolution whose kernel is the outer product of the three. With K taps along lat and lon it takes 2/K of
    the multiply-adds of the (1, K, K) convolution. The arguments are those of `Convolution`.

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
        super().__init__()
        where = type(self).__name__
        sizes, steps = check_triple("kernel", kernel, where), check_triple("stride", stride, where)
        reaches = check_triple("dilation", dilation, where)
        axes = [axis for axis in (1, 2, 0) if sizes[axis] > 1 or steps[axis] > 1] or [0]
        for axis in axes:
            last = axis == axes[-1]
            convolution = Convolution(
                c_in if axis == axes[0] else c_out, c_out, _along(axis, sizes),
                stride=_along(axis, steps), dilation=_along(axis, reaches),
                time_padding=time_padding, space_padding=space_padding, bias=bias and last,
                norm=norm if last else "none", activation=activation if last else "none",
            )  # fmt: skip
            self.append(convolution)


def _along(axis: int, sizes: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(size if i == axis else 1 for i, size in enumerate(sizes))
