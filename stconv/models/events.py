"""Event networks, which forecast the probability of an event in a cube for each lead.

They are image classifiers in three dimensions, with every dense layer written as a convolution. Trained on
the cube they are built for, they slide over a larger grid and give a map of probabilities. With time kernel
1, one frame and the original grid they have the published numbers of parameters.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError
from stconv.models.registry import Network, register
from stconv.nn.conv import Convolution
from stconv.nn.dense import Dense
from stconv.nn.norm import Activation, Norm
from stconv.nn.padding import SpacePadding
from stconv.nn.pool import Pool
from stconv.nn.probability import probability
from stconv.nn.residual import channel_dropout, residual_block
from stconv.nn.settings import check_count, check_odd

LEAST_OF_LENET5 = 16
"""Least number of cells along lat and lon of LeNet5."""


@dataclass(frozen=True)
class LayerStyle:
    """Settings that all convolutions of an event network share.

    Attributes:
        kernel_time: Odd kernel size along time.
        norm: batch, group, layer or none.
        activation: Name of an activation, see `nn.norm.make_activation`.
        width: Share of the published numbers of channels.
    """

    kernel_time: int = 1
    norm: Norm = "none"
    activation: Activation = "relu"
    width: float = 1.0

    def channels(self, published: int) -> int:
        """Return the number of channels of a layer, at least one."""
        return max(1, round(published * self.width))


class EventNetwork(Network):
    """Base of the event networks: (batch, c_in, t_in, lat, lon) to logits (batch, c_out, leads, lat', lon').

    lat' and lon' are 1 on the cube that the network is built for; on a larger grid they are the numbers of
    positions of that cube, at the network's stride. A subclass defines its features and the widths of its
    dense layers.

    Args:
        c_in: Number of input channels.
        c_out: 1 for a single event (sigmoid); more for mutually exclusive classes (softmax).
        t_in: Number of input frames; the last one is the newest.
        leads: Number of leads.
        grid: (lat, lon) cells of the cube, equal to the grid of the training data.
        kernel_time: Odd kernel size of the convolutions along time.
        norm: batch, group, layer or none; as published by default.
        activation: Activation of every convolution and hidden dense layer: relu, leaky_relu, gelu, silu,
            tanh, sigmoid or none.
        width: Width of all hidden layers as a share of the published one, above 0; geophysical data seldom
            have enough windows for the full width.
        dropout: Share of channels dropped after each hidden dense layer, in training.

    Raises:
        ConfigError: A setting is out of its range, or the grid is too small for the poolings.
    """

    forecasts_event = True
    grid: tuple[int, int]
    widths: ClassVar[tuple[int, ...]] = ()
    """Widths of the hidden dense layers."""
    averaged: ClassVar[bool] = False
    """Whether features are averaged over the cube before the dense layers."""
    published_norm: ClassVar[Norm] = "none"

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        grid: Sequence[int],
        kernel_time: int = 1,
        norm: Norm | None = None,
        activation: Activation = "relu",
        width: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        where = type(self).__name__
        if len(grid) != 2:
            raise ConfigError(f"grid of {where} is {tuple(grid)}; expected two sizes: (lat, lon).")
        self.grid = (check_count("grid", grid[0], where), check_count("grid", grid[1], where))
        check_odd("kernel_time", kernel_time, where)
        if not 0 < width < math.inf:
            raise ConfigError(f"width of {where} is {width}; expected a share above 0, such as 0.25.")
        style = LayerStyle(kernel_time, norm or self.published_norm, activation, width)
        self.features = self.make_features(c_in, style)
        self.classifier = self._dense(dropout, style)

    @staticmethod
    def make_features(c_in: int, style: LayerStyle) -> nn.Sequential:
        """Return the convolutions and poolings."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32, (batch, c_out, leads, lat', lon').

        Raises:
            ShapeError: The input has another number of channels or frames, or is smaller than the cube.
        """
        if x.ndim == 5 and (x.shape[-2] < self.grid[0] or x.shape[-1] < self.grid[1]):
            raise ShapeError(
                f"input of {type(self).__name__} has {tuple(x.shape[-2:])} cells, expected at least the "
                f"{self.grid} it was built for. Build it with `grid` as large as the data."
            )
        return super().forward(x)

    def compute(self, x: Tensor) -> Tensor:
        """Run the features and the dense layers."""
        y: Tensor = self.classifier(self.features(x))
        return y.squeeze(2).unflatten(1, (self.c_out, self.leads))

    def probability(self, x: Tensor) -> Tensor:
        """Return probabilities of the same shape, of the event or of each class (with sum 1)."""
        return probability(self(x))

    @property
    def strides(self) -> tuple[int, int]:
        """Cells between neighboring positions of the cube on a larger grid, along (lat, lon)."""
        far = 1024  # a multiple of every stride, all of which are smaller powers of two
        (lat, lon), (further_lat, further_lon) = (
            self._left((self.grid[0] + more, self.grid[1] + more))[1] for more in (0, far)
        )
        return far // (further_lat - lat), far // (further_lon - lon)

    def _dense(self, dropout: float, style: LayerStyle) -> nn.Sequential:
        """Return the dense layers, of which the first spans all frames and cells of the features."""
        channels, size = self._left(self.grid)
        layers = nn.Sequential()
        if self.averaged:
            layers.append(Pool("average", (1, *size), 1))
        shape = (self.t_in, 1, 1) if self.averaged else (self.t_in, *size)
        for published in self.widths:
            width = style.channels(published)
            dense = Dense(channels, width, shape, activation=style.activation)
            layers.extend([dense, channel_dropout(dropout)])
            channels, shape = width, (1, 1, 1)
        return layers.append(Dense(channels, self.c_out * self.leads, shape, activation="none"))

    def _left(self, grid: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """Return channels and size of the features on a grid; only shapes are computed."""
        ghost = copy.deepcopy(self.features).to("meta").eval()
        try:
            y = ghost(torch.zeros(1, self.c_in, self.t_in, *grid, device="meta"))
        except RuntimeError as error:
            raise ConfigError(
                f"grid of {type(self).__name__} is {self.grid}, too small for its poolings. Use a larger "
                + (
                    "grid, or LeNet5."
                    if min(grid) >= LEAST_OF_LENET5
                    else "grid, or ResNet18, which takes any."
                )
            ) from error
        return y.shape[1], (y.shape[3], y.shape[4])


@register
class LeNet5(EventNetwork):
    """Two convolutions with pooling and three dense layers; at least 16 cells along lat and lon.

    Source:
        LeCun et al. (1998), Proceedings of the IEEE 86, here with full connections between the first two
        layers, and with ReLU unless `activation` is tanh, as published.
    """

    widths = (120, 84)

    @staticmethod
    def make_features(c_in: int, style: LayerStyle) -> nn.Sequential:
        """Return two convolutions (t, 5, 5), each followed by pooling."""
        first, second = style.channels(6), style.channels(16)
        return nn.Sequential(
            _layer(c_in, first, 5, style, space_padding="valid"), Pool("max", (1, 2, 2)),
            _layer(first, second, 5, style, space_padding="valid"), Pool("max", (1, 2, 2)),
        )  # fmt: skip


@register
class AlexNet(EventNetwork):
    """Five convolutions, the first with stride 4, overlapping pooling (3, stride 2) and three dense layers.

    A single tower without local response normalization; published with a dropout of 0.5. Most weights are in
    the dense layers. The grid needs at least 67 cells along lat and lon.

    Source:
        Krizhevsky et al. (2012), NeurIPS 25.
    """

    widths = (4096, 4096)

    @staticmethod
    def make_features(c_in: int, style: LayerStyle) -> nn.Sequential:
        """Return five convolutions and three poolings."""

        def pool() -> Pool:
            return Pool("max", (1, 3, 3), (1, 2, 2))

        first, second, third = (style.channels(n) for n in (96, 256, 384))
        return nn.Sequential(
            _layer(c_in, first, 11, style, stride=4, space_padding="valid"), pool(),
            _layer(first, second, 5, style), pool(),
            _layer(second, third, 3, style), _layer(third, third, 3, style),
            _layer(third, second, 3, style), pool(),
        )  # fmt: skip


@register
class VGG16(EventNetwork):
    """Thirteen convolutions (t, 3, 3) in five groups with pooling, and three dense layers.

    Published with a dropout of 0.5. The grid needs at least 32 cells along lat and lon.

    Source:
        Simonyan and Zisserman (2015), arXiv 1409.1556, configuration D.
    """

    widths = (4096, 4096)

    @staticmethod
    def make_features(c_in: int, style: LayerStyle) -> nn.Sequential:
        """Return thirteen convolutions and five poolings."""
        layers, before = nn.Sequential(), c_in
        for published, n_layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            width = style.channels(published)
            for _ in range(n_layers):
                layers.append(_layer(before, width, 3, style))
                before = width
            layers.append(Pool("max", (1, 2, 2)))
        return layers


@register
class ResNet18(EventNetwork):
    """Eight residual blocks, halving the grid after every second one, a global average and one dense layer.

    Source:
        He et al. (2016), arXiv 1512.03385, table 1.
    """

    averaged = True
    published_norm = "batch"

    @staticmethod
    def make_features(c_in: int, style: LayerStyle) -> nn.Sequential:
        """Return a convolution (t, 7, 7) with pooling, and eight residual blocks."""
        t = style.kernel_time
        look: dict[str, Any] = {"norm": style.norm, "activation": style.activation}
        before = style.channels(64)
        first = Convolution(c_in, before, (t, 7, 7), stride=(1, 2, 2), **look)
        pool = Pool("max", (1, 3, 3), (1, 2, 2), (0, 1, 1))
        # the identity keeps the weights' names of bundles in which the padding was a layer
        layers = nn.Sequential(first, nn.Identity(), pool)
        for published in (64, 128, 256, 512):
            width = style.channels(published)
            for stride in ((1, 1, 1) if published == 64 else (1, 2, 2), (1, 1, 1)):
                layers.append(residual_block(Convolution, before, width, (t, 3, 3), stride=stride, **look))
                before = width
        return layers


def _layer(
    c_in: int,
    c_out: int,
    size: int,
    style: LayerStyle,
    *,
    stride: int = 1,
    space_padding: SpacePadding = "zero",
) -> Convolution:
    """Return a convolution with an activation; it has a bias only without normalization."""
    return Convolution(
        c_in, c_out, (style.kernel_time, size, size), stride=(1, stride, stride), space_padding=space_padding,
        bias=style.norm == "none", norm=style.norm, activation=style.activation,
    )  # fmt: skip
