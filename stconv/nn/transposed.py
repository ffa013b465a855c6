"""Transposed convolution, which multiplies the number of steps or cells."""

from __future__ import annotations

from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.conv import Sizes
from stconv.nn.norm import Activation, Norm, make_activation, make_norm
from stconv.nn.padding import SpacePadding, TimePadding
from stconv.nn.settings import check_count, check_triple


class Transposed(nn.Module):
    """The transpose of a convolution with a stride; n steps or cells give stride * n.

    The result of (n - 1) stride + K values, where K is the dilated kernel, is cropped by (K - stride) / 2 on
    each side. The arguments are those of `Convolution`; time_padding and space_padding must keep their
    defaults.

    Raises:
        ConfigError: K - stride is odd or negative along an axis, a padding other than the default is asked
            for, or a setting is out of its range.
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
        check_count("c_in", c_in, where)
        check_count("c_out", c_out, where)
        size, step = check_triple("kernel", kernel, where), check_triple("stride", stride, where)
        reach = check_triple("dilation", dilation, where)
        if (time_padding, space_padding) != ("symmetric", "zero"):
            raise ConfigError(
                f"padding of {where} is {time_padding!r} in time and {space_padding!r} in space; expected "
                "'symmetric' and 'zero'. Leave both at their defaults."
            )
        lost = []
        for dim, k, s, d in zip(("time", "lat", "lon"), size, step, reach, strict=True):
            surplus = d * (k - 1) + 1 - s
            if surplus < 0 or surplus % 2:
                raise ConfigError(
                    f"the kernel of {where} spans {surplus + s} along {dim} with stride {s}; expected at "
                    f"least the stride, and both even or both odd: {s}, {s + 2}, {s + 4}, ..."
                )
            lost.append(surplus // 2)
        self.conv = nn.ConvTranspose3d(
            c_in, c_out, size, step, (lost[0], lost[1], lost[2]), bias=bias, dilation=reach
        )
        self.norm = make_norm(norm, c_out, where)
        self.activation = make_activation(activation, where)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, time, lat, lon) to (batch, c_out, stride time, stride lat, stride lon)."""
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y
