"""Damped persistence: the newest frame, drawn towards zero (the mean, or the climatology) with the lead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError
from stconv.nn.settings import check_count

START = 0.9
"""Damping per lead before it is fitted."""
PRIOR_WINDOWS = 30
"""The damping that all cells share counts as much in each cell as this many windows."""


class Damping(nn.Module):
    """y[b, c, l, i, j] = damping[c, l, i, j] x[b, c, newest, i, j], with a damping fitted, then learned.

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

    @torch.no_grad()
    def fit(self, windows: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Set the damping to the least-squares one, in [0, 1], before training improves on it.

        damping = (sum x y + n s d) / (sum x^2 + n s) in each cell, where d is the damping of all cells
        together, s the mean of x^2 and n = `PRIOR_WINDOWS`: a cell with little data follows the others.

        Args:
            windows: Batches of (x, y, weight): inputs (batch, c_in, t_in, lat, lon), targets and their
                weights, 0 where missing, (batch, c_out, leads, lat, lon), all normalized.

        Source:
            Murphy (1992), Weather and Forecasting 7, 692-698: the regression of the state on an earlier one.
        """
        products = squares = total = 0.0
        for x, y, weight in windows:
            newest = x[:, : self.factor.shape[0], -1:].double()
            products = products + (weight * newest * y).sum(0)
            squares = squares + (weight * newest.square()).sum(0)
            total = total + weight.double().sum(0)
        if not torch.is_tensor(products):
            return
        cells = (-2, -1)
        common = products.sum(cells, keepdim=True) / squares.sum(cells, keepdim=True).clamp(min=1e-12)
        mean = squares.sum(cells, keepdim=True) / total.sum(cells, keepdim=True).clamp(min=1e-12)
        fitted = (products + PRIOR_WINDOWS * mean * common) / (squares + PRIOR_WINDOWS * mean).clamp(
            min=1e-12
        )
        self.factor.copy_((common if self.grid is None else fitted).clamp(0, 1))

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
