"""Linear regression in closed form, fed batch by batch: on a few frames of the 3 x 3 cells around a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

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


def neighborhoods(frames: Tensor) -> Tensor:
    """The 3 x 3 cells around every cell: (batch, frames, lat, lon) to (batch, cell, 9 frames).

    Beyond the grid its edge goes on.
    """
    return F.unfold(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3).transpose(1, 2)
