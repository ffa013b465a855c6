"""Motion of a field and advection along it, in plain torch: no weights, differentiable.

Displacements are (batch, 2, rows, columns), along lon, then lat, in half widths of the grid (its edges are at
-1 and 1), so that they apply to a grid of any resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_CELLS, FEWEST_CELLS = 128, 12
"""Smallest and largest side, in cells, of the grids on which the motion is refined, coarsest first."""
WINDOW = 15
"""Side, in cells, of the neighborhood that is assumed to move as one, with triangular weights."""
PRIOR = 0.05
"""Weight of the whole field next to each neighborhood, so that dry or uniform areas move with the rest."""
STIFFNESS = 1e-3
"""Regularization as a share of the mean squared slope: a field without slopes does not move."""
ROUNDS = 2
"""Number of refinements on each grid."""
LARGEST_STEP = 2.0
"""Largest change of the motion by one refinement, in cells."""


def motion(frames: Tensor) -> Tensor:
    """Estimate the motion that all channels and steps share, by least squares in each neighborhood.

    Args:
        frames: Fields, float32, (batch, channel, time, lat, lon).

    Returns:
        Displacement per step on a grid of at most 128 cells along a side; zero for a single frame.

    Source:
        Lucas and Kanade (1981), IJCAI 2, 674-679; Bouguet (2001), Pyramidal implementation of the Lucas
        Kanade feature tracker; here on the whole field instead of at corners.
    """
    n_batch, n_time = frames.shape[0], frames.shape[2]
    levels = [frames.flatten(1, 2)]
    while max(levels[-1].shape[-2:]) > MOST_CELLS or min(levels[-1].shape[-2:]) >= 2 * FEWEST_CELLS:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    used = [level for level in levels if max(level.shape[-2:]) <= MOST_CELLS]
    velocity = frames.new_zeros(n_batch, 2, *used[-1].shape[-2:])
    if n_time < 2:
        return velocity
    for level in reversed(used):
        size = level.shape[-2:]
        velocity = F.interpolate(velocity, size, mode="bilinear", align_corners=False)
        smooth = F.avg_pool2d(level, 3, 1, 1, count_include_pad=False).unflatten(1, (-1, n_time))
        before, after = (part.flatten(1, 2) for part in (smooth[:, :, :-1], smooth[:, :, 1:]))
        cells = velocity.new_tensor([size[1], size[0]]).view(1, 2, 1, 1) / 2
        for _ in range(ROUNDS):
            from_here, to_here = _sample(before, -velocity / 2), _sample(after, velocity / 2)
            step = _least_squares((from_here + to_here) / 2, to_here - from_here)
            velocity = velocity + step.clamp(-LARGEST_STEP, LARGEST_STEP) / cells
    return velocity


def paths(velocity: Tensor, steps: int) -> list[Tensor]:
    """Trace a steady motion back from every cell.

    Args:
        velocity: Displacement per step.
        steps: Number of steps.

    Returns:
        The displacement from the point of departure to the cell, after 1, 2, ..., `steps` steps.

    Source:
        Germann and Zawadzki (2002), Monthly Weather Review 130, 2859-2873, eq. 9-11, by midpoints.
    """
    displacement, found = torch.zeros_like(velocity), []
    for _ in range(steps):
        half = _sample(velocity, -displacement) / 2
        displacement = displacement + _sample(velocity, -displacement - half)
        found.append(displacement)
    return found


def carry(field: Tensor, displacement: Tensor) -> Tensor:
    """Move a field; cells whose point of departure is outside the grid keep their values.

    Args:
        field: (batch, channel, lat, lon).
        displacement: Displacement from the point of departure to each cell, on a grid of any size.

    Returns:
        The moved field, shaped like `field`.
    """
    size = field.shape[-2:]
    back = -F.interpolate(displacement, size, mode="bilinear", align_corners=False)
    inside = ((_centers(field) + back).abs() <= 1).all(1, keepdim=True)
    return torch.where(inside, _sample(field, back), field)


def _centers(field: Tensor) -> Tensor:
    """Return the centers of the cells of a field, (1, 2, rows, columns)."""
    rows, columns = field.shape[-2:]
    y, x = (
        (2 * torch.arange(n, dtype=field.dtype, device=field.device) + 1) / n - 1 for n in (rows, columns)
    )
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])[None]


def _sample(field: Tensor, displacement: Tensor) -> Tensor:
    """Interpolate the field at each cell plus a displacement; beyond the grid the edge is repeated."""
    at = _centers(field) + displacement
    return F.grid_sample(field, at.movedim(1, -1), padding_mode="border", align_corners=False)


def _least_squares(field: Tensor, change: Tensor) -> Tensor:
    """Return the displacement in cells that explains a change of the field, (batch, 2, rows, cols)."""
    padded = F.pad(field, (1, 1, 1, 1), mode="replicate")
    x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    products = torch.stack([x * x, y * y, x * y, x * change, y * change], 1).mean(2)
    whole = products.mean((-2, -1), keepdim=True)
    for _ in range(2):
        products = F.avg_pool2d(products, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    xx, yy, xy, xt, yt = (products + PRIOR * whole).unbind(1)
    stiff = STIFFNESS * (whole[:, 0] + whole[:, 1]) + 1e-12
    xx, yy = xx + stiff, yy + stiff
    return torch.stack([xy * yt - yy * xt, xy * xt - xx * yt], 1) / (xx * yy - xy * xy)[:, None]
