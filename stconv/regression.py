"""Linear regression in closed form, fed batch by batch: on a few frames of the 3 x 3 cells around a cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_ROWS = 2_000_000
"""Weights that all cells share are fitted on about as many cells, drawn at random from all windows."""
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


def least_squares_in_the_unit_square(
    aa: Tensor, ab: Tensor, bb: Tensor, ay: Tensor, by: Tensor
) -> tuple[Tensor, Tensor]:
    """The u and v in [0, 1] that minimize sum((y - u a - v b)^2), problem by problem.

    The minimum of a convex quadratic function on a square is inside, where its gradient is zero, or the least
    one of those on the four sides. Where a or b is nothing, its weight is 1.

    Args:
        aa: Sums of a^2, any shape.
        ab: Sums of a b.
        bb: Sums of b^2.
        ay: Sums of a y.
        by: Sums of b y.
    """
    one, zero = torch.ones_like(aa), torch.zeros_like(aa)

    def weight(product: Tensor, square: Tensor) -> Tensor:
        return torch.where(square > 0, (product / square).nan_to_num().clamp(0, 1), one)

    determinant = aa * bb - ab * ab
    inside = [(ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant]
    known = torch.stack([(w >= 0) & (w <= 1) for w in inside]).all(0)  # False for NaN and infinity
    candidates = [
        tuple(torch.where(known, w, one) for w in inside),
        *((side, weight(by - side * ab, bb)) for side in (one, zero)),
        *((weight(ay - side * ab, aa), side) for side in (one, zero)),
    ]
    u, v = (torch.stack(weights) for weights in zip(*candidates, strict=True))
    best = (u * u * aa + 2 * u * v * ab + v * v * bb - 2 * u * ay - 2 * v * by).argmin(0, keepdim=True)
    return u.gather(0, best)[0], v.gather(0, best)[0]


def neighborhoods(frames: Tensor) -> Tensor:
    """The 3 x 3 cells around every cell: (batch, frames, lat, lon) to (batch, cell, 9 frames).

    Beyond the grid its edge goes on.
    """
    return F.unfold(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3).transpose(1, 2)
