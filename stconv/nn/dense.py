"""A fully connected layer as a convolution, so that what was trained on one grid slides over a larger one."""

from __future__ import annotations

from stconv.nn.conv import Convolution, Sizes
from stconv.nn.norm import Activation


class Dense(Convolution):
    """Connect every value of a cube of the given size with every output: a convolution of that size.

    On its own cube it gives one value per output, as a dense layer with the same weights; on a larger one it
    gives one for each position of the cube in it.

    Args:
        c_in: Number of input channels.
        c_out: Number of outputs.
        size: Cube along (time, lat, lon) that is fully connected, or one size for all.
        activation: leaky_relu, relu, gelu, silu, tanh, sigmoid or none.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(self, c_in: int, c_out: int, size: Sizes, *, activation: Activation = "relu") -> None:
        super().__init__(
            c_in, c_out, size, time_padding="valid", space_padding="valid",
            bias=True, norm="none", activation=activation,
        )  # fmt: skip
