"""Damped persistence: the newest frame, damped more and more with the lead.

It is damped towards zero (the mean of the training period, or the climatology), or towards the mean of the
window's frames, which stays right in a climate that has changed. With `neighbors`, a linear regression on the
surroundings forecasts the residual of the damping. Both are fitted in closed form before training, so that a
network on top of them learns only what is not linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError
from stconv.nn.placing import PerCell
from stconv.nn.regression import MAX_ROWS, CellSlopes, NeighborRegression, Windows, on_neighborhoods
from stconv.nn.settings import check_count

START = 0.9
"""Damping per lead before it is fitted."""
PRIOR_WINDOWS = 30
"""Weight of the damping shared by all cells in the fit of a single cell, in windows."""


class Damping(PerCell):
    """Damped persistence whose damping is fitted before training and then learned.

    y[b, c, l, i, j] = damping[c, l, i, j] x[b, c, newest, i, j]

    With `recent`, x and y are departures from the mean of the window's frames in each cell, also in the fit.

    Args:
        c_out: Number of target channels; they come first in the input.
        leads: Number of leads.
        grid: (lat, lon) cells, for a separate damping in each cell; by default all cells share one damping,
            and any grid is accepted.
        neighbors: Number of newest frames in the regression on the 3 x 3 neighborhood, whose weights all
            cells share; beyond the grid the edge cells are repeated. None for no regression.
        recent: Damp towards the mean of the window's frames instead of towards zero.
        constant: Whether the regression has a constant, for each target and lead.
        equal: Fit with equal weights for all cells that have a value, as in the linear reference forecast.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self,
        c_out: int,
        leads: int,
        grid: Sequence[int] | None = None,
        neighbors: int | None = None,
        *,
        recent: bool = False,
        constant: bool = False,
        equal: bool = False,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_count("c_out", c_out, where)
        check_count("leads", leads, where)
        if grid is not None and len(grid) != 2:
            raise ConfigError(f"grid of {where} is {tuple(grid)}; expected two sizes: (lat, lon).")
        cells = [check_count("grid", size, where) for size in (grid or (1, 1))]
        start = START ** torch.arange(1.0, leads + 1)
        self.grid = None if grid is None else (cells[0], cells[1])
        self.factor = nn.Parameter(start.view(1, leads, 1, 1).expand(c_out, leads, *cells).clone())
        self.recent, self.equal = recent, equal
        self.lags = None if neighbors is None else check_count("neighbors", neighbors, where)
        if self.lags is not None:
            self.weight = nn.Parameter(torch.zeros(c_out * leads, self.lags, 3, 3))
            self.bias = nn.Parameter(torch.zeros(c_out, leads, 1, 1)) if constant else None

    @torch.no_grad()
    def fit(self, windows: Windows, most_rows: int = MAX_ROWS) -> None:
        """Set the damping to its least-squares value, held to [0, 1]; training starts from it.

        A cell with few data is drawn to the damping of all cells (`CellSlopes.by_cell` with `PRIOR_WINDOWS`).
        Then the regression is fitted to the residual.

        Args:
            windows: Callable that returns a new iterator over batches of (x, y, weight): inputs (batch, c_in,
                t_in, lat, lon), targets and their weights, 0 where missing, (batch, c_out, leads, lat, lon),
                all normalized.
            most_rows: Approximate number of cells, drawn at random from all windows, in the fit of the
                regression.

        Raises:
            ShapeError: The damping was built for another grid.
        """
        slopes, rows = CellSlopes(), 0
        for x, y, weight in self._weighted(windows):
            history, level = self._history(x)
            slopes.add(history[:, :, -1:], y - level, weight)
            rows += weight[:, 0, 0].numel()
        if not rows:
            return
        self.factor.copy_(slopes.common() if self.grid is None else slopes.by_cell(PRIOR_WINDOWS))
        if self.lags is None:
            return
        n_targets, leads = self.factor.shape[:2]
        constant = self.bias is not None
        regression = NeighborRegression(n_targets, leads, self.lags, most_rows / rows, constant)
        for x, y, weight in self._weighted(windows):
            history, level = self._history(x)
            regression.add(history, y - level - self._damped(history), weight)
        fitted = regression.solve()
        if self.bias is not None:
            self.bias.copy_(fitted[..., -1, None, None])
            fitted = fitted[..., :-1]
        self.weight.copy_(fitted.reshape(self.weight.shape))

    def _weighted(self, windows: Windows) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        if not self.equal:
            return windows()
        return ((x, y, (weight > 0).to(weight)) for x, y, weight in windows())

    def _history(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the targets' frames as departures from the level they are damped to, and that level."""
        if self.grid is not None and self._expected() != tuple(x.shape[-2:]):
            raise ShapeError(
                f"Damping was built for a grid of {self.grid} cells and got {tuple(x.shape[-2:])}. Give the "
                "grid of the data, or leave `grid` out for a damping that is the same in all cells."
            )
        history = x[:, : self.factor.shape[0]]
        if not self.recent:
            return history, 0.0
        level = history.mean(2, keepdim=True)
        return history - level, level

    def _expected(self) -> tuple[int, int] | None:
        return self.grid if self.place is None else (len(self.place[0]), len(self.place[1]))

    def _damped(self, history: Tensor) -> Tensor:
        factor = self.factor if self.grid is None else self.at_place(self.factor)
        return factor * history[:, :, -1:]

    def open_paths(self) -> None:
        """Accept any grid, with the mean damping in every cell: `stconv.nn.probing`."""
        self.grid = None
        self.factor = nn.Parameter(self.factor.detach().mean(dim=(2, 3), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, t_in, lat, lon) to (batch, c_out, leads, lat, lon).

        Raises:
            ShapeError: The damping was built for another grid.
        """
        damped, regression = self.parts(x)
        return damped if regression is None else damped + regression

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the damped forecast, and the correction that the regression adds to it, if there is one.

        Raises:
            ShapeError: The damping was built for another grid.
        """
        history, level = self._history(x)
        damped = level + self._damped(history)
        if self.lags is None:
            return damped, None
        regression = on_neighborhoods(history[:, :, -self.lags :], self.weight)
        return damped, regression if self.bias is None else regression + self.bias
