"""Event networks: a cube in, the probability per lead that something happens in it.

The classifiers of the lectures in three dimensions, with every dense layer as a convolution: trained on the
cube they are built for, they slide over a larger grid and give a map of probabilities. With time kernel 1,
one frame and the original grid they have the published numbers of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stconv.dims import check_tensor
from stconv.errors import ConfigError, ShapeError
from stconv.nn.conv import Convolution
from stconv.nn.dense import Dense
from stconv.nn.norm import Norm
from stconv.nn.pool import Pool
from stconv.nn.residual import residual_block
from stconv.nn.settings import check_count, check_odd

Grid = Sequence[int]
"""(lat, lon) cells of the cube that a network is built for."""


class EventNetwork(nn.Module):
    """Base of the event networks: (batch, c_in, t_in, lat, lon) to (batch, classes, leads, lat', lon').

    lat' and lon' are 1 on the cube that the network is built for, and count the positions of that cube, at
    the network's stride, on a larger grid.

    Args:
        c_in: Number of input channels.
        classes: 1 for an event that happens or not (sigmoid); more for events that exclude each other
            (softmax).
        t_in: Number of input frames; the last one is the newest.
        leads: Number of leads.
        grid: (lat, lon) cells of the cube.

    Raises:
        ConfigError: A number is not a positive integer.
    """

    features: nn.Module
    classifier: nn.Module

    def __init__(self, c_in: int, classes: int, t_in: int, leads: int, grid: Grid) -> None:
        super().__init__()
        where = type(self).__name__
        self.c_in, self.classes = check_count("c_in", c_in, where), check_count("classes", classes, where)
        self.t_in, self.leads = check_count("t_in", t_in, where), check_count("leads", leads, where)
        if len(grid) != 2:
            raise ConfigError(f"grid of {where} is {tuple(grid)}; expected two sizes: (lat, lon).")
        self.grid = (check_count("grid", grid[0], where), check_count("grid", grid[1], where))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32, (batch, classes, leads, lat', lon').

        Raises:
            ShapeError: The input has other channels or frames, or is smaller than the cube.
        """
        check_tensor(x, f"input of {type(self).__name__}", channel=self.c_in, time=self.t_in)
        if x.shape[-2] < self.grid[0] or x.shape[-1] < self.grid[1]:
            raise ShapeError(
                f"input of {type(self).__name__} has {tuple(x.shape[-2:])} cells, expected at least the "
                f"{self.grid} it was built for. Build it with `grid` as large as the region of the event."
            )
        y: Tensor = self.classifier(self.features(x))
        return y.squeeze(2).unflatten(1, (self.classes, self.leads))

    def probability(self, x: Tensor) -> Tensor:
        """Return probabilities of the same shape: of the event, or of each class (they sum to 1)."""
        logits = self(x)
        return logits.sigmoid() if self.classes == 1 else logits.softmax(dim=1)

    def dense(self, c_in: int, widths: Sequence[int], size: tuple[int, int], dropout: float) -> nn.Sequential:
        """Return dense layers: the first over all frames and (lat, lon) cells, the last the logits."""
        layers, shape = nn.Sequential(), (self.t_in, *size)
        for width in widths:
            layers.append(Dense(c_in, width, shape))
            if dropout:
                layers.append(nn.Dropout(dropout))
            c_in, shape = width, (1, 1, 1)
        return layers.append(Dense(c_in, self.classes * self.leads, shape, activation="none"))


def _after(size: int, kernel: int, stride: int, padding: int = 0) -> int:
    return (size - kernel + 2 * padding) // stride + 1


class LeNet5(EventNetwork):
    """Two convolutions with pooling, three dense layers.

    Args:
        c_in: Number of input channels.
        classes: 1 for sigmoid, more for softmax.
        t_in: Number of input frames.
        leads: Number of leads.
        grid: (lat, lon) cells of the cube, at least 16 along each.
        kernel_time: Odd kernel size along time of the convolutions.

    Raises:
        ConfigError: A setting is out of its range, or the grid too small.

    Source:
        LeCun et al. (1998), Proceedings of the IEEE 86, with every map of the second layer connected to all
        of the first, and rectifiers.
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        t_in: int,
        leads: int,
        *,
        grid: Grid = (32, 32),
        kernel_time: int = 1,
    ) -> None:
        super().__init__(c_in, classes, t_in, leads, grid)
        size = (check_odd("kernel_time", kernel_time, "LeNet5"), 5, 5)

        def block(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(
                Convolution(
                    before, after, size, space_padding="valid", bias=True, norm="none", activation="relu"
                ),
                Pool("max", (1, 2, 2)),
            )

        self.features = nn.Sequential(block(c_in, 6), block(6, 16))
        lat, lon = (_after(_after(n, 5, 1) // 2, 5, 1) // 2 for n in self.grid)
        self.classifier = self.dense(16, [120, 84], _at_least_one(lat, lon, self), dropout=0.0)


class AlexNet(EventNetwork):
    """Five convolutions, the first with a stride of 4, overlapping pooling (3, stride 2), three dense layers.

    One tower, without local response normalization. Most of its weights are in the dense layers.

    Args:
        c_in: Number of input channels.
        classes: 1 for sigmoid, more for softmax.
        t_in: Number of input frames.
        leads: Number of leads.
        grid: (lat, lon) cells of the cube, at least 67 along each.
        kernel_time: Odd kernel size along time of the convolutions.

    Raises:
        ConfigError: A setting is out of its range, or the grid too small.

    Source:
        Krizhevsky et al. (2012), NeurIPS 25.
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        t_in: int,
        leads: int,
        *,
        grid: Grid = (227, 227),
        kernel_time: int = 1,
    ) -> None:
        super().__init__(c_in, classes, t_in, leads, grid)
        t = check_odd("kernel_time", kernel_time, "AlexNet")

        def layer(before: int, after: int, kernel: int, stride: int = 1) -> Convolution:
            return Convolution(
                before, after, (t, kernel, kernel), stride=(1, stride, stride),
                space_padding="valid" if stride > 1 else "zero", bias=True, norm="none", activation="relu",
            )  # fmt: skip

        def pool() -> Pool:
            return Pool("max", (1, 3, 3), (1, 2, 2))

        self.features = nn.Sequential(
            layer(c_in, 96, 11, 4), pool(), layer(96, 256, 5), pool(),
            layer(256, 384, 3), layer(384, 384, 3), layer(384, 256, 3), pool(),
        )  # fmt: skip
        lat, lon = (_after(_after(_after(_after(n, 11, 4), 3, 2), 3, 2), 3, 2) for n in self.grid)
        self.classifier = self.dense(256, [4096, 4096], _at_least_one(lat, lon, self), dropout=0.5)


class VGG16(EventNetwork):
    """Thirteen convolutions (k, 3, 3) in five groups with pooling, three dense layers.

    Args:
        c_in: Number of input channels.
        classes: 1 for sigmoid, more for softmax.
        t_in: Number of input frames.
        leads: Number of leads.
        grid: (lat, lon) cells of the cube, at least 32 along each.
        kernel_time: Odd kernel size along time of the convolutions.

    Raises:
        ConfigError: A setting is out of its range, or the grid too small.

    Source:
        Simonyan and Zisserman (2015), arXiv 1409.1556, configuration D.
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        t_in: int,
        leads: int,
        *,
        grid: Grid = (224, 224),
        kernel_time: int = 1,
    ) -> None:
        super().__init__(c_in, classes, t_in, leads, grid)
        size = (check_odd("kernel_time", kernel_time, "VGG16"), 3, 3)
        self.features = nn.Sequential()
        for width, n_layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(n_layers):
                self.features.append(
                    Convolution(c_in, width, size, bias=True, norm="none", activation="relu")
                )
                c_in = width
            self.features.append(Pool("max", (1, 2, 2)))
        lat, lon = (n // 32 for n in self.grid)
        self.classifier = self.dense(512, [4096, 4096], _at_least_one(lat, lon, self), dropout=0.5)


class ResNet18(EventNetwork):
    """Eight residual blocks, each second pair at half the grid; the average over the cube; one dense layer.

    Args:
        c_in: Number of input channels.
        classes: 1 for sigmoid, more for softmax.
        t_in: Number of input frames.
        leads: Number of leads.
        grid: (lat, lon) cells of the cube.
        kernel_time: Odd kernel size along time of the convolutions.
        norm: batch, group, layer or none.

    Raises:
        ConfigError: A setting is out of its range, or the grid too small.

    Source:
        He et al. (2016), arXiv 1512.03385, table 1.
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        t_in: int,
        leads: int,
        *,
        grid: Grid = (224, 224),
        kernel_time: int = 1,
        norm: Norm = "batch",
    ) -> None:
        super().__init__(c_in, classes, t_in, leads, grid)
        t = check_odd("kernel_time", kernel_time, "ResNet18")
        self.features = nn.Sequential(
            Convolution(c_in, 64, (t, 7, 7), stride=(1, 2, 2), norm=norm, activation="relu"),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        before = 64
        for width in (64, 128, 256, 512):
            for stride in ((1, 1, 1) if width == 64 else (1, 2, 2), (1, 1, 1)):
                self.features.append(
                    residual_block(
                        Convolution, before, width, (t, 3, 3), stride=stride, norm=norm, activation="relu"
                    )
                )
                before = width
        lat, lon = (-(-n // 32) for n in self.grid)
        pool = Pool("average", (1, lat, lon), 1)
        self.classifier = nn.Sequential(pool, *self.dense(512, [], (1, 1), dropout=0.0))


def _at_least_one(lat: int, lon: int, network: EventNetwork) -> tuple[int, int]:
    if min(lat, lon) < 1:
        raise ConfigError(
            f"grid of {type(network).__name__} is {network.grid}, of which its pooling leaves nothing. "
            "Give a larger one, or a smaller network such as LeNet5."
        )
    return lat, lon
