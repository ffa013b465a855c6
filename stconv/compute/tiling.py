"""Forecast a grid tile by tile: the result of the whole grid, in the memory of a tile.

Each tile is cut out with a halo as wide as the network's receptive field, and only the part that the tile's
edge has no influence on is kept. At the edge of the grid itself the tile ends there too, so that padding
happens where it would have happened.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stconv.datasets.series.cache import available_bytes
from stconv.errors import ConfigError
from stconv.explain.anatomy import anatomy
from stconv.explain.reach import Reach, phases, reach
from stconv.models import Network
from stconv.nn.padding import Pad
from stconv.nn.settings import check_count

MOST_BYTES = 2 * 2**30
"""Bytes that a forecast takes in one piece at most, unless told otherwise."""
SMALL = 64 * 64
"""Cells of a grid that is never tiled by itself."""
SMALLEST = 32
"""Cells along lat and lon of a tile that is chosen by itself."""
FLOAT_BYTES, COPIES = 4, 4


@dataclass(frozen=True)
class Stretch:
    """A part of one axis: what is read, and what of it is kept.

    Attributes:
        read: Indices to read; beyond the ends of a periodic axis they go on from the other side.
        keep: Where the kept part starts and stops, in the whole axis.
        offset: Where the kept part starts in what was read.
    """

    read: range
    keep: slice
    offset: int


def stretches(
    n: int, tile: int, before: int, after: int, *, period: int = 1, periodic: bool = False
) -> list[Stretch]:
    """Divide an axis into tiles with their halos.

    Args:
        n: Cells of the axis.
        tile: Cells kept of each tile; rounded up to a multiple of `period`.
        before: Halo towards the start.
        after: Halo towards the end.
        period: Tiles are read from multiples of it, so that halved grids fall on the same cells.
        periodic: The axis closes on itself.
    """
    tile, before, after = (-(-size // period) * period for size in (tile, before, after))
    if tile + before + after >= n:
        return [Stretch(range(n), slice(0, n), 0)]
    found = []
    for start in range(0, n, tile):
        stop = min(start + tile, n)
        first, last = start - before, stop + after
        if not periodic:
            first, last = max(first, 0), min(last, n)
        found.append(Stretch(range(first, last), slice(start, stop), start - first))
    return found


@torch.no_grad()
def tiled(
    network: Network,
    x: Tensor,
    tile: tuple[int, int] = (128, 128),
    field: Reach | None = None,
    forecast: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Forecast as ``network(x)`` does, tile by tile.

    Args:
        network: In evaluation mode; its device is where the tiles go.
        x: Input frames, (batch, c_in, t_in, lat, lon); may stay on another device than the network.
        tile: Cells kept of each tile along (lat, lon); the larger, the less is computed twice.
        field: The network's receptive field, if it is known already; finding it takes a moment.
        forecast: What to do with a tile: `network` by default, or its `members`.

    Returns:
        Forecast, (..., lat, lon), on the device of x.

    Raises:
        ConfigError: The network is in training mode, sees the whole grid at once, or has a parameter for
            each cell.
    """
    for size in tile:
        check_count("tile", size, "tiled")
    field = field_of_tiles(network, field)
    periodic = any(isinstance(m, Pad) and m.space == "periodic" for m in network.modules())
    step, (n_lat, n_lon) = phases(network), (x.shape[-2], x.shape[-1])
    if periodic and n_lon % step:
        raise ConfigError(
            f"the grid has {n_lon} columns, and a periodic {type(network).__name__} that halves it needs a "
            f"multiple of {step} to be tiled. Forecast untiled, or cut the grid."
        )
    device = next((p.device for p in network.parameters()), x.device)
    forecast, y = forecast or network, x
    for rows, columns in _tiles(x, tile, field, step, periodic):
        part = x[..., rows.read.start : rows.read.stop, :]
        index = torch.tensor([i % n_lon for i in columns.read], device=x.device)
        found = forecast(part.index_select(-1, index).to(device))
        if y is x:
            y = x.new_empty(*found.shape[:-2], n_lat, n_lon)
        height, width = rows.keep.stop - rows.keep.start, columns.keep.stop - columns.keep.start
        kept = found.narrow(-2, rows.offset, height).narrow(-1, columns.offset, width)
        y[..., rows.keep, columns.keep] = kept.to(y.device)
    return y


class Tiled(Network):
    """A network that forecasts tile by tile wherever the whole grid would take too much memory.

    Args:
        network: In evaluation mode.
        tile: Cells kept of each tile along lat and lon; 0 for the whole grid in one piece, None to decide by
            `memory`.
        memory: Bytes that the features of a piece may take; by default a quarter of what is available, at
            most 2 GiB.
        members: What computes the members of a piece, such as another engine; by default the network.

    Raises:
        ConfigError: `tile` is negative, or given for a network that can not be tiled.
    """

    def __init__(
        self,
        network: Network,
        tile: int | None = None,
        memory: int | None = None,
        members: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        self.network, self.memory = network, memory
        self.compute_members = members or network.members
        self._needed: dict[tuple[int, int], int] = {}
        self.tile = None if tile is None else check_count("tile", tile, "a forecast", at_least=0)
        if self.tile:
            self.field = field_of_tiles(network)

    @functools.cached_property
    def field(self) -> Reach:
        """The network's receptive field; finding it takes a moment.

        Raises:
            ConfigError: The network can not be tiled.
        """
        return field_of_tiles(self.network)

    def compute(self, x: Tensor) -> Tensor:
        """Forecast in one piece or in tiles: the mean of the members."""
        return self.members(x).mean(0)

    def members(self, x: Tensor) -> Tensor:
        """The members of the network, in one piece or in tiles."""
        tile = self._tile_for(*x.shape[-2:]) if self.tile is None else self.tile
        if not tile:
            return self.compute_members(x)
        return tiled(self.network, x, (tile, tile), self.field, self.compute_members)

    def _tile_for(self, n_lat: int, n_lon: int) -> int:
        if n_lat * n_lon <= SMALL or self.network.forecasts_event:
            return 0
        memory = min(available_bytes() // 4, MOST_BYTES) if self.memory is None else self.memory
        if (n_lat, n_lon) not in self._needed:  # a walk through all layers, a tenth of a second
            self._needed[n_lat, n_lon] = bytes_of(self.network, n_lat, n_lon)
        needed = self._needed[n_lat, n_lon]
        if needed <= memory:
            return 0
        try:
            field = self.field
        except ConfigError as error:
            gib = needed / 2**30
            warnings.warn(f"The forecast needs some {gib:.1f} GiB in one piece: {error}", stacklevel=2)
            return 0
        halo = max(b + a for b, a in zip(field.before, field.after, strict=True))
        return max(math.isqrt(int(memory / needed * n_lat * n_lon)) - halo, SMALLEST)


def bytes_of(network: Network, n_lat: int, n_lon: int) -> int:
    """Estimate the memory of a forecast in one piece: the largest layer's output, its input and two copies.

    Args:
        network: The network; nothing is computed.
        n_lat: Cells along lat; a network with a parameter for each cell takes its own grid only.
        n_lon: Cells along lon.
    """
    layers = anatomy(network, (network.c_in, network.t_in, n_lat, n_lon))
    values = [layer.channels * math.prod(layer.size) for layer in layers]
    smallest = (network.c_in * network.t_in + network.c_out * network.leads) * n_lat * n_lon
    return FLOAT_BYTES * COPIES * max([*values, smallest])


def field_of_tiles(network: Network, field: Reach | None = None) -> Reach:
    """The receptive field of a network that can be computed in tiles.

    Args:
        network: In evaluation mode.
        field: Its receptive field, if it is known already.

    Raises:
        ConfigError: It is in training mode, sees the whole grid at once, or has a parameter for each cell.
    """
    if network.training:
        raise ConfigError(
            "the network is in training mode, in which tiles would differ; call `.eval()` first."
        )
    if network.own_grid is not None:
        raise ConfigError(
            f"{type(network).__name__} has a damping for each cell of its own grid and can not be tiled. "
            "Leave its `grid` out, or forecast untiled."
        )
    field = field or reach(network)
    if field.whole_grid:
        raise ConfigError(
            f"{type(network).__name__} sees the whole grid at once (a group normalization, or a very wide "
            "field), so that tiles of it would differ. Use norm 'batch' or 'layer', or forecast untiled."
        )
    return field


def _tiles(
    x: Tensor, tile: tuple[int, int], field: Reach, period: int, periodic: bool
) -> Iterator[tuple[Stretch, Stretch]]:
    (top, left), (bottom, right) = field.before, field.after
    rows = stretches(x.shape[-2], tile[0], top, bottom, period=period)
    columns = stretches(x.shape[-1], tile[1], left, right, period=period, periodic=periodic)
    for row in rows:
        for column in columns:
            yield row, column
