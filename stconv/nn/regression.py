"""Linear regression in closed form on a cell or its 3 x 3 neighborhood, fitted batch by batch.

The same code fits the damping that a network starts from (`nn.damping`) and the references that it is tested
against (`datasets.references`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LAGS = 3
"""Largest number of newest frames in a regression, unless it is told to take more."""
MAX_ROWS = 2_000_000
"""Approximate number of cells, drawn at random from all windows, in a fit of shared weights."""
Windows = Callable[[], Iterable[tuple[Tensor, Tensor, Tensor]]]
"""Callable that returns a new iterator over batches of (x, y, weight), in order of time, normalized: inputs
(batch, c_in, t_in, lat, lon), targets and their weights, 0 where missing, (batch, c_out, leads, lat, lon)."""
RIDGE = 1e-6
"""Ridge term as a share of the features' mean square; it matters only if features are dependent."""


class NormalEquations:
    """Sums of several weighted least-squares problems with equally many features, in float64.

    Args:
        problems: Shape of the set of problems, such as (target, lead).
        n_features: Number of features of each problem.
    """

    def __init__(self, problems: Sequence[int], n_features: int) -> None:
        self.gram = torch.zeros(*problems, n_features, n_features, dtype=torch.float64)
        self.moment = torch.zeros(*problems, n_features, dtype=torch.float64)

    def add(
        self,
        problem: tuple[int, ...],
        rows: Tensor,
        y: Tensor,
        weight: Tensor | None = None,
        gram: Tensor | None = None,
    ) -> Tensor:
        """Add rows of features, (row, feature), with their target values and weights, both (row,).

        Args:
            problem: Index of the problem.
            rows: Features.
            y: Target values.
            weight: Weights; None for 1.
            gram: Result of an earlier call with the same rows and weights, which saves computing it again.

        Returns:
            The weighted products of each two features.
        """
        rows, y = rows.double(), y.double()
        weighted = y if weight is None else y * weight.double()
        if gram is None:
            gram = (rows if weight is None else rows * weight.double()[:, None]).T @ rows
        self.gram[problem] += gram
        self.moment[problem] += rows.T @ weighted
        return gram

    def solve(self) -> Tensor:
        """Return the fitted weights, float64, (*problems, feature)."""
        mean_square = self.gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
        ridge = RIDGE * mean_square[..., None, None] * torch.eye(self.gram.shape[-1], dtype=torch.float64)
        return torch.linalg.solve(self.gram + ridge, self.moment)


def ratio_with_error(products: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Fit w of y = w a by least squares, with its standard error, from sums over blocks of a series.

    w = sum_b p_b / sum_b s_b, error^2 = B / (B - 1) sum_b (p_b - w s_b)^2 / (sum_b s_b)^2

    The standard error is reliable if blocks are long compared with the memory of the series, since successive
    windows are not independent. Where a is zero throughout, w is 1 with an error of 0.

    Args:
        products: Sum of a y over each block, (block, ...).
        squares: Sum of a^2 over each block, (block, ...).

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
    """Slope d of y = d x by least squares in each cell, per target and lead; sums are float64.

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
            x: Predictor, (batch, target, 1, lat, lon).
            y: Predictand, (batch, target, leads, lat, lon).
            weight: Weight, 0 where either is missing, shaped like y.
        """
        x, y, weight = (part.double().cpu() for part in (x, y, weight))
        self.products = self.products + (weight * x * y).sum(0)
        self.squares = self.squares + (weight * x.square()).sum(0)
        self.weights = self.weights + weight.sum(0)

    def common(self) -> Tensor:
        """Return the slope of all cells together, (target, leads, 1, 1), in [0, 1]."""
        return self._ratio(*self._over_cells(self.products, self.squares)).clamp(0, 1)

    def by_cell(self, prior_windows: float = 0.0) -> Tensor:
        """Return the slope of each cell, (target, leads, lat, lon), in [0, 1]; 0 in a cell without data.

        d = (sum w x y + n s d0) / (sum w x^2 + n s), with d0 the slope of all cells together before it is
        held to [0, 1], and s the mean of x^2.

        Args:
            prior_windows: Weight n of the common slope, in windows; a cell with few data is drawn to it.
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
    """Weighted least squares of each target and lead on the 3 x 3 neighborhood, shared by all cells.

    Args:
        n_targets: Number of targets.
        leads: Number of leads.
        lags: Number of newest frames in the regression.
        share: Share of the cells of each window that are used, drawn at random from a fixed seed.
        constant: Whether to fit a constant as well.
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
            y: Predictand, finite, (batch, target, leads, lat, lon).
            weight: Weight, 0 where y is missing, shaped like y.
        """
        past, y, weight = past[:, :, -self.lags :].cpu(), y.cpu().flatten(3), weight.cpu().flatten(3)
        n_cells = y.shape[-1]
        cells = torch.randperm(n_cells, generator=self._generator)[: max(1, round(self._share * n_cells))]
        n_targets, leads = self._shape
        for target in range(n_targets):
            rows = neighborhoods(past[:, target])[:, cells].flatten(0, 1).double()
            if self._constant:
                rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
            of_target = weight[:, target][..., cells]
            alike = bool(
                (of_target == of_target[:, :1]).all()
            )  # no value is missing: one Gram matrix will do
            gram = None
            for lead in range(leads):
                predictand = y[:, target, lead][:, cells].flatten()
                gram = self._equations.add(
                    (target, lead), rows, predictand, of_target[:, lead].flatten(), gram if alike else None
                )

    def solve(self) -> Tensor:
        """Return the weights, float64, (target, leads, 9 lags), followed by the constant if there is one."""
        return self._equations.solve()


def on_neighborhoods(past: Tensor, weight: Tensor) -> Tensor:
    """Apply the weights of a `NeighborRegression`, without a constant, to every cell.

    Args:
        past: Frames of each target, the newest last, (batch, target, lags, lat, lon).
        weight: Weights, (target * leads, lags, 3, 3).

    Returns:
        Forecast, (batch, target, leads, lat, lon); beyond the grid the edge cells are repeated.
    """
    n_targets = past.shape[1]
    padded = F.pad(past.flatten(1, 2), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, weight, groups=n_targets).unflatten(1, (n_targets, len(weight) // n_targets))


def neighborhoods(frames: Tensor) -> Tensor:
    """Gather the 3 x 3 cells around every cell: (batch, frames, lat, lon) to (batch, cell, 9 frames).

    Beyond the grid the edge cells are repeated.
    """
    return F.unfold(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3).transpose(1, 2)
