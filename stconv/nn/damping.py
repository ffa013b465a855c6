"""Damped persistence: the newest frame, drawn towards zero (the mean, or the climatology) with the lead."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError
from stconv.nn.settings import check_count

START = 0.9
"""Damping per lead that training starts from."""


class Damping(nn.Module):
    """y[b, c, l, i, j] = damping[c, l, i, j] x[b, c, newest, i, j], with a learned damping.

    Args:
        c_out: Number of target channels, the first ones of the input.
        leads: Number of leads.
        grid: (lat, lon) cells, for a damping of each cell; without it one damping serves all cells, and any
            grid.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(self, c_out: int, leads: int, grid: Sequence[int] | None = None) -> None:
        super().__init__()
        where = type(self).__name__
        check_count("c_out", c_out, where)
        check_count("leads", leads, where)
        if grid is not None and len(grid) != 2:
            raise ConfigError(f"grid of {where} is {tuple(grid)}; expected two sizes: (lat, lon).")
        cells = [check_count("grid", size, where) for size in (grid or (1, 1))]
        start = START ** torch.arange(1.0, leads + 1)
        self.grid = None if grid is None else tuple(cells)
        self.factor = nn.Parameter(start.view(1, leads, 1, 1).expand(c_out, leads, *cells).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, t_in, lat, lon) to (batch, c_out, leads, lat, lon).

        Raises:
            ShapeError: The damping belongs to the cells of another grid.
        """
        if self.grid is not None and self.grid != tuple(x.shape[-2:]):
            raise ShapeError(
                f"Damping was built for a grid of {self.grid} cells and got {tuple(x.shape[-2:])}. Give the "
                "grid of the data, or leave `grid` out for a damping that is the same in all cells."
            )
        return self.factor * x[:, : self.factor.shape[0], -1:]
