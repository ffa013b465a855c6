"""Linear regression in closed form, fed batch by batch: on a cell, or on the 3 x 3 cells around it.

The start of a network (`nn.damping`) and the references it is tested against (`datasets.references`) are
fitted and computed by the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LAGS = 3
"""A regression sees as many of the newest frames, where there are so many: more of them change nothing."""
MAX_ROWS = 2_000_000
"""Weights that all cells share are fitted on about as many cells, drawn at random from all windows."""
Windows = Callable[[], Iterable[tuple[Tensor, Tensor, Tensor]]]
"""Gives batches of (x, y, weight) anew at each call: inputs (batch, c_in, t_in, lat, lon), targets and their
weights, 0 where missing, (batch, c_out, leads, lat, lon), all normalized, in the order of time."""
RIDGE = 1e-6
"""Share of the mean square of the features; it only matters where they are dependent."""


class NormalEquations:
    """Sums of several weighted least-squares problems with the same number of features, in float64.

    Args:
        problems: Sizes, such as (target, lead): one problem for each.
        n_features: Columns of each.
    """

    def __init__(self, problems: Sequence[int], n_features: int) -> None:
        self.gram = torch.zeros(*problems, n_features, n_features, dtype=torch.float64)
        self.moment = torch.zeros(*problems, n_features, dtype=torch.float64)

    def add(self, problem: tuple[int, ...], rows: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        """Add rows of features, (row, feature), what they should give, (row,), and their weight, (row,)."""
        rows, y = rows.double(), y.double()
        weighted = rows if weight is None else rows * weight.double()[:, None]
        self.gram[problem] += weighted.T @ rows
        self.moment[problem] += weighted.T @ y

    def solve(self) -> Tensor:
        """The weights, float64, (*problems, feature)."""
        mean_square = self.gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
        ridge = RIDGE * mean_square[..., None, None] * torch.eye(self.gram.shape[-1], dtype=torch.float64)
        return torch.linalg.solve(self.gram + ridge, self.moment)


def ratio_with_error(products: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """The w of y = w a by least squares, and its standard error, from sums over blocks of a series.

    w = sum_b p_b / sum_b s_b, error^2 = B / (B - 1) sum_b (p_b - w s_b)^2 / (sum_b s_b)^2

    Blocks that are long beside the memory of the series make the error honest: windows that follow each other
    say the same thing many times. Where a is nothing, w is 1 and certain.

    Args:
        products: Sums of a y, (block, ...).
        squares: Sums of a^2, likewise.

    Source:
        Cochran (1977), Sampling Techniques, 6.3-6.4: a ratio estimated from clusters, and its variance.
    """
    total = squares.sum(0)
    known = total > 0
    w = torch.where(known, products.sum(0) / total.where(known, 1), 1)
    n_blocks = len(products)
    scatter = (products - w * squares).square().sum(0) * n_blocks / max(1, n_blocks - 1)
    return w, torch.where(known, scatter.sqrt() / total.where(known, 1), 0)


class CellSlopes:
    """The slope d of y = d x by least squares, in each cell of each target and lead; sums are float64.

    Source:
        Murphy (1992), Weather and Forecasting 7, 692-698: the regression of the state on an earlier one.
    """

    def __init__(self) -> None:
        self.products: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0
        self.weights: Tensor | float = 0.0

    def add(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        """Add windows.

        Args:
            x: (batch, target, 1, lat, lon).
            y: (batch, target, leads, lat, lon).
            weight: 0 where either is missing, likewise.
        """
        x, y, weight = (part.double().cpu() for part in (x, y, weight))
        self.products = self.products + (weight * x * y).sum(0)
        self.squares = self.squares + (weight * x.square()).sum(0)
        self.weights = self.weights + weight.sum(0)

    def common(self) -> Tensor:
        """The slope of all cells together, (target, leads, 1, 1), in [0, 1]."""
        return self._ratio(*self._over_cells(self.products, self.squares)).clamp(0, 1)

    def by_cell(self, prior_windows: float = 0.0) -> Tensor:
        """The slope of each cell, (target, leads, lat, lon), in [0, 1]; 0 in a cell without data.

        d = (sum w x y + n s d0) / (sum w x^2 + n s), with d0 the slope of all cells together before it is
        held to [0, 1], and s the mean of x^2.

        Args:
            prior_windows: n; a cell with little data follows the others.
        """
        products, squares, weights = self._over_cells(self.products, self.squares, self.weights)
        prior = prior_windows * self._ratio(squares, weights)
        return self._ratio(
            self.products + prior * self._ratio(products, squares), self.squares + prior
        ).clamp(0, 1)

    @staticmethod
    def _over_cells(*sums: Tensor | float) -> list[Tensor]:
        return [torch.as_tensor(part).sum((-2, -1), keepdim=True) for part in sums]

    @staticmethod
    def _ratio(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(b > 0, a / b.where(b > 0, 1), 0)


class NeighborRegression:
    """Weighted least squares of each target and lead on the 3 x 3 neighborhood, the same in all cells.

    Args:
        n_targets: Number of targets.
        leads: Number of leads.
        lags: Frames to look back.
        share: Share of the cells of each window that are used, drawn at random, the same ones each time.
        constant: Fit a constant, too.
    """

    def __init__(self, n_targets: int, leads: int, lags: int, share: float, constant: bool = False) -> None:
        self.lags, self._share, self._constant = lags, min(1.0, share), constant
        self._shape = n_targets, leads
        self._equations = NormalEquations(self._shape, 9 * lags + constant)
        self._generator = torch.Generator().manual_seed(0)

    def add(self, past: Tensor, y: Tensor, weight: Tensor) -> None:
        """Add windows.

        Args:
            past: Frames of each target, the newest last, finite, (batch, target, frames, lat, lon).
            y: What they should give, finite, (batch, target, leads, lat, lon).
            weight: 0 where y is not known, likewise.
        """
        past, y, weight = past[:, :, -self.lags :].cpu(), y.cpu().flatten(3), weight.cpu().flatten(3)
        n_cells = y.shape[-1]
        cells = torch.randperm(n_cells, generator=self._generator)[: max(1, round(self._share * n_cells))]
        n_targets, leads = self._shape
        for target in range(n_targets):
            rows = neighborhoods(past[:, target])[:, cells].flatten(0, 1)
            if self._constant:
                rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
            for lead in range(leads):
                at = (slice(None), target, lead, cells)
                self._equations.add((target, lead), rows, y[at].flatten(), weight[at].flatten())

    def solve(self) -> Tensor:
        """The weights, float64, (target, leads, 9 lags), then the constant if there is one."""
        return self._equations.solve()


def on_neighborhoods(past: Tensor, weight: Tensor) -> Tensor:
    """Apply the weights of a `NeighborRegression`, without a constant, to every cell.

    Args:
        past: Frames of each target, the newest last, (batch, target, lags, lat, lon).
        weight: (target * leads, lags, 3, 3).

    Returns:
        (batch, target, leads, lat, lon); beyond the grid its edge goes on.
    """
    n_targets = past.shape[1]
    padded = F.pad(past.flatten(1, 2), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, weight, groups=n_targets).unflatten(1, (n_targets, len(weight) // n_targets))


def neighborhoods(frames: Tensor) -> Tensor:
    """The 3 x 3 cells around every cell: (batch, frames, lat, lon) to (batch, cell, 9 frames).

    Beyond the grid its edge goes on.
    """
    return F.unfold(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3).transpose(1, 2)
