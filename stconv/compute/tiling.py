"""Forecasts tile by tile: the result of the whole grid, in the memory of a tile.

Each tile is cut out with a halo as wide as the network's receptive field, and only the part that the edge of
the tile does not influence is kept. At the edge of the grid the tile ends as well, so that padding applies
there as on the whole grid. The result of tiles is compared with that of the whole grid once, on a small grid,
and a network whose tiles differ is refused.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stconv.allocation import KEPT_BYTES
from stconv.datasets.series.cache import available_bytes
from stconv.datasets.series.crops import Halo
from stconv.errors import ConfigError, ShapeError
from stconv.explain.anatomy import anatomy
from stconv.explain.reach import Reach, in_double, phases, positive, reach
from stconv.models import Network
from stconv.nn.padding import Pad
from stconv.nn.placing import anywhere, placed
from stconv.nn.settings import check_count
from stconv.spacing import evenly_spaced

MOST_BYTES = KEPT_BYTES
"""Default for the largest number of bytes that a forecast in one piece may take."""
SMALL = 64 * 64
"""Number of cells up to which a grid is never tiled by default."""
SMALLEST = 32
"""Smallest tile that is chosen by default, in cells along lat and lon."""
FLOAT_BYTES, COPIES = 4, 4
EQUAL = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Largest difference of tiles from the whole grid, relative to the largest value, by dtype."""


@dataclass(frozen=True)
class Stretch:
    """A part of one axis: the cells that are read, and those of them that are kept.

    Attributes:
        read: Indices to read; beyond the ends of a periodic axis they continue on the other side.
        keep: Start and stop of the kept part on the whole axis.
        offset: Start of the kept part within the cells read.
    """

    read: range
    keep: slice
    offset: int


def stretches(
    n: int, tile: int, before: int, after: int, *, period: int = 1, periodic: bool = False
) -> list[Stretch]:
    """Divide an axis into tiles with their halos.

    Args:
        n: Number of cells of the axis.
        tile: Number of cells kept of each tile; rounded up to a multiple of `period`.
        before: Halo towards the start.
        after: Halo towards the end.
        period: Tiles are read from multiples of it, so that halved grids fall on the same cells.
        periodic: Whether the axis is periodic.
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
        network: Network in evaluation mode; tiles are moved to its device.
        x: Input frames, (batch, c_in, t_in, lat, lon); may stay on another device than the network.
        tile: Number of cells kept of each tile along (lat, lon); larger tiles compute less twice.
        field: Receptive field of the network, if known; otherwise it is determined, which takes a moment.
        forecast: Function applied to each tile: `network` by default, or its `members`.

    Returns:
        Forecast, (..., lat, lon), on the device of x.

    Raises:
        ConfigError: The network cannot be tiled (see `field_of_tiles`), or not on a grid of this size.
    """
    for size in tile:
        check_count("tile", size, "tiled")
    field = field_of_tiles(network, field)
    periodic = any(isinstance(m, Pad) and m.space == "periodic" for m in network.modules())
    step, (n_lat, n_lon) = math.lcm(phases(network), field.period), (x.shape[-2], x.shape[-1])
    if periodic and n_lon % step:
        raise ConfigError(
            f"the grid has {n_lon} columns, and a periodic {type(network).__name__} that halves it needs "
            f"a multiple of {step} to be tiled. Forecast untiled, or cut the grid."
        )
    if phases(network) % step and (n_lat % step or n_lon % step):
        raise ConfigError(
            f"the grid has {n_lat} x {n_lon} cells, and {type(network).__name__}, which repeats itself "
            f"after {step} and does not pad its input, needs multiples of {step} to be tiled. "
            "Forecast untiled, cut the grid, or start the network with `PadToMultiple`."
        )
    device, y = next((p.device for p in network.parameters()), x.device), x
    for rows, columns in _tiles(x, tile, field, step, periodic):
        kept = _kept(network, forecast or network, x, (rows, columns), device)
        if y is x:
            y = x.new_empty(*kept.shape[:-2], n_lat, n_lon)
        y[..., rows.keep, columns.keep] = kept.to(y.device)
    return y


def _kept(
    network: Network,
    forecast: Callable[[Tensor], Tensor],
    x: Tensor,
    tile: tuple[Stretch, Stretch],
    device: torch.device,
) -> Tensor:
    """Forecast one tile with its halo, and return the part that is kept."""
    rows, columns = tile
    part = x[..., rows.read.start : rows.read.stop, :]
    index = torch.tensor([i % x.shape[-1] for i in columns.read], device=x.device)
    place = torch.tensor(rows.read, device=device), index.to(device)
    with placed(network, *place):
        found = forecast(part.index_select(-1, index).to(device))
    height, width = rows.keep.stop - rows.keep.start, columns.keep.stop - columns.keep.start
    return found.narrow(-2, rows.offset, height).narrow(-1, columns.offset, width)


class Tiled(Network):
    """A network that forecasts tile by tile if the whole grid would take too much memory.

    Args:
        network: Network in evaluation mode.
        tile: Number of cells kept of each tile along lat and lon; 0 for the whole grid in one piece, None to
            decide by `memory`.
        memory: Bytes that the features of a piece may take; by default a quarter of the available memory, at
            most 1 GiB.
        members: Function that computes the members of a piece, such as another engine; by default the
            network.
        tiles: Result of `tiles_of` from the bundle; by default it is determined when needed.

    Raises:
        ConfigError: `tile` is negative, or given for a network that cannot be tiled.
    """

    def __init__(
        self,
        network: Network,
        tile: int | None = None,
        memory: int | None = None,
        members: Callable[[Tensor], Tensor] | None = None,
        tiles: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        self.network, self.memory, self.tiles = network, memory, tiles
        self.compute_members = members or network.members
        self._needed: dict[tuple[int, int], int] = {}
        self.tile = None if tile is None else check_count("tile", tile, "a forecast", at_least=0)
        if self.tile:
            _ = self.field

    @functools.cached_property
    def field(self) -> Reach:
        """Receptive field of the network; determining it takes a moment.

        Raises:
            ConfigError: The network cannot be tiled.
        """
        if self.network.own_grid is not None and self.compute_members != self.network.members:
            raise ConfigError(
                f"{type(self.network).__name__} has a damping for each cell of its own grid, and this engine "
                "takes the whole grid only. Use --engine torch, or --tile 0."
            )
        return field_of_tiles(self.network, field_from(self.tiles))

    def compute(self, x: Tensor) -> Tensor:
        """Forecast the mean of the members, in one piece or in tiles."""
        return self.members(x).mean(0)

    def members(self, x: Tensor) -> Tensor:
        """Forecast the members, in one piece or in tiles."""
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
            warnings.warn(f"The forecast needs about {gib:.1f} GiB in one piece: {error}", stacklevel=2)
            return 0
        halo = max(b + a for b, a in zip(field.before, field.after, strict=True))
        return max(math.isqrt(int(memory / needed * n_lat * n_lon)) - halo, SMALLEST)


def bytes_of(network: Network, n_lat: int, n_lon: int) -> int:
    """Estimate the memory of a forecast in one piece: the largest layer's output, its input and two copies.

    Args:
        network: Network; it is not run.
        n_lat: Number of cells along lat; a network with a parameter for each cell takes only its own grid.
        n_lon: Number of cells along lon.
    """
    layers = anatomy(network, (network.c_in, network.t_in, n_lat, n_lon))
    values = [layer.channels * math.prod(layer.size) for layer in layers]
    smallest = (network.c_in * network.t_in + network.c_out * network.leads) * n_lat * n_lon
    return FLOAT_BYTES * COPIES * max([*values, smallest])


def field_of_tiles(network: Network, field: Reach | None = None) -> Reach:
    """Return the receptive field of a network that can be computed in tiles.

    Args:
        network: Network in evaluation mode.
        field: Its receptive field, if known.

    Raises:
        ConfigError: The network is in training mode, forecasts an event, sees the whole grid at once, does
            not treat all cells alike, or its tiles differ from the whole grid.
    """
    if network.training:
        raise ConfigError(
            "the network is in training mode, in which tiles would differ; call `.eval()` first."
        )
    if network.forecasts_event:
        raise ConfigError(
            f"{type(network).__name__} forecasts an event, on another grid than that of its input, and "
            "cannot be tiled. Forecast untiled."
        )
    network = anywhere(network) if network.own_grid is not None else network
    known, field = field is not None, field or _found(network)
    if field.whole_grid:
        raise ConfigError(
            f"{type(network).__name__} sees the whole grid at once (a group normalization, or a very wide "
            "field), so that tiles of it would differ. Use norm 'batch' or 'layer', or forecast untiled."
        )
    if field.period == 0:
        raise ConfigError(
            f"{type(network).__name__} does not treat the cells of a grid alike, so that tiles of it "
            "would differ. Forecast untiled."
        )
    for tried in () if known else (in_double(copy.deepcopy(network).cpu()), positive(network)):
        _try_tiles(tried, field)
    return field


def tiles_of(network: Network) -> dict[str, Any]:
    """Return, as JSON types, the receptive field for tiles of a network, or the reason why there are none."""
    try:
        field = field_of_tiles(network)
    except ConfigError as error:
        return {"refused": str(error)}
    sides = {"before": list(field.before), "after": list(field.after)}
    return {"refused": None, "field": {**dataclasses.asdict(field), **sides}}


def field_from(tiles: Mapping[str, Any] | None) -> Reach | None:
    """Return the receptive field that a bundle states; None if it states nothing about tiles.

    Raises:
        ConfigError: The bundle states that the network cannot be tiled.
    """
    if not tiles:
        return None
    if tiles["refused"]:
        raise ConfigError(str(tiles["refused"]))
    found = dict(tiles["field"])
    return Reach(**found | {side: tuple(found[side]) for side in ("before", "after")})


def _found(network: Network) -> Reach:
    """Return the receptive field; ConfigError if the network does not run on the small grids tried."""
    try:
        return reach(network)
    except (RuntimeError, TypeError, ValueError, ShapeError) as error:
        raise ConfigError(
            f"the receptive field of {type(network).__name__} cannot be found, since it does not run on "
            f"every grid ({error}), and without it there are no tiles. Forecast untiled."
        ) from error


def _try_tiles(network: Network, field: Reach) -> None:
    """Raise ConfigError if tiles of a random field differ from the result of its whole grid.

    The first, a middle and the last tile along each axis are tried: nine tiles, however wide the halo is.
    """
    step = math.lcm(phases(network), field.period)
    tile = step * -(-8 // step)
    n_lat, n_lon = (
        step * -(-(before + after + 2 * step) // step) + 3 * tile
        for before, after in zip(field.before, field.after, strict=True)
    )
    if phases(network) % field.period == 0:
        n_lat += 1  # an end that the network pads
    generator = torch.Generator().manual_seed(2)
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    x = torch.randn(1, network.c_in, network.t_in, n_lat, n_lon, generator=generator).to(dtype)
    with torch.no_grad():
        try:
            whole = network(x)
        except (RuntimeError, TypeError, ValueError, ShapeError) as error:
            raise ConfigError(
                f"{type(network).__name__} does not run on {n_lat} x {n_lon} cells ({error}), so that its "
                "tiles cannot be compared with the whole grid. Forecast untiled."
            ) from error
    periodic = any(isinstance(m, Pad) and m.space == "periodic" for m in network.modules())
    tiles = list(_tiles(x, (tile, tile), field, step, periodic))
    chosen = [set(evenly_spaced(sorted({t[axis].keep.start for t in tiles}), 3)) for axis in range(2)]
    differences = [torch.zeros((), dtype=dtype)]
    with torch.no_grad():
        for rows, columns in tiles:
            if rows.keep.start in chosen[0] and columns.keep.start in chosen[1]:
                kept = _kept(network, network, x, (rows, columns), x.device)
                differences.append((kept - whole[..., rows.keep, columns.keep]).abs().max())
    largest = torch.stack(differences).max()  # NaN if any is
    share = float(largest / whole.abs().max().clip(min=torch.finfo(dtype).tiny))
    if not share <= EQUAL[dtype]:
        raise ConfigError(
            f"tiles of {type(network).__name__} differ from the whole grid, by {share:.1e} of its largest "
            f"value on {n_lat} x {n_lon} cells in tiles of {tile}: what it computes depends on where a "
            "cell lies, on the size of the grid, or on chance. Forecast untiled."
        )


def _tiles(
    x: Tensor, tile: tuple[int, int], field: Reach, period: int, periodic: bool
) -> Iterator[tuple[Stretch, Stretch]]:
    (top, left), (bottom, right) = field.before, field.after
    rows = stretches(x.shape[-2], tile[0], top, bottom, period=period)
    columns = stretches(x.shape[-1], tile[1], left, right, period=period, periodic=periodic)
    for row in rows:
        for column in columns:
            yield row, column


def halo_of(network: Network) -> Halo:
    """Return the surroundings that crops of a network need in training.

    Raises:
        ConfigError: The network cannot be computed on a part of the grid; see `field_of_tiles`.
    """
    field = field_of_tiles(copy.deepcopy(network).eval())
    closed = any(isinstance(m, Pad) and m.space == "periodic" for m in network.modules())
    return Halo(field.before, field.after, math.lcm(phases(network), field.period), closed)
