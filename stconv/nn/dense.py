"""A fully connected layer written as a convolution, so that it slides over a grid larger than its own."""

from __future__ import annotations

from stconv.nn.conv import Convolution, Sizes
from stconv.nn.norm import Activation


class Dense(Convolution):
    """Connect every value of a cube with every output, as a convolution of the cube's size.

    On a cube of this size it gives one value per output, as a dense layer with the same weights does; on a
    larger input it gives one value for each position of the cube.

    Args:
        c_in: Number of input channels.
        c_out: Number of outputs.
        size: Size of the cube along (time, lat, lon), or one size for all.
        activation: leaky_relu, relu, gelu, silu, tanh, sigmoid or none.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(self, c_in: int, c_out: int, size: Sizes, *, activation: Activation = "relu") -> None:
        super().__init__(
            c_in, c_out, size, time_padding="valid", space_padding="valid",
            bias=True, norm="none", activation=activation,
        )  # fmt: skip
