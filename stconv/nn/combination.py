"""Weights of a combination of forecasts, from their errors on windows that none of them was fitted on.

A forecast has to earn its weight: the less certain it is that it, or a mixture, is better on other windows,
the closer the weights are to a forecast that has no coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from stconv.nn.regression import ratio_with_error

BLOCKS = 8
"""Largest number of blocks that the windows are divided into for standard errors."""
T_QUANTILES = (math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365)
"""Half width of the 95 % interval in standard errors for 1, 2, ... blocks: the 97.5 % quantile of Student's t
with one degree of freedom less than blocks."""
DOUBT = 0.5
"""Standard errors by which a forecast may be worse than the best one and still be chosen, and by which the
choice has to be better than a forecast without coefficients to have any weight."""
EARNED = 2.0
"""Standard errors by which a forecast has to be better than the same one with fewer coefficients."""
RIDGE = 1e-9
"""Ridge term as a share of the mean squared error, which decides between forecasts that are equal."""


def error_products(forecasts: Sequence[Tensor], y: Tensor, weight: Tensor) -> Tensor:
    """Return the products of the errors of each two forecasts, summed over the cells of each window.

    Args:
        forecasts: Forecasts, each (batch, target, leads, lat, lon).
        y: Truth, of the same shape.
        weight: Weight of each value, 0 where the truth is missing, of the same shape.

    Returns:
        Products, float64, (batch, target, leads, forecast, forecast).
    """
    errors = torch.stack([weight.sqrt() * (y - forecast) for forecast in forecasts], 3).flatten(4).double()
    return errors @ errors.mT


def combination_weights(
    products: Tensor, n_simple: int, simpler: Mapping[int, int] = MappingProxyType({})
) -> Tensor:
    """Weights of a combination for each target and lead, at least 0, with the sum 1.

    w = u + s (v - u),  u a careful choice of single forecasts, v the best mixture, s in [0, 1]

    First, forecasts are chosen by all halves of the blocks of windows, in proportion to the share of them in
    which each is the best: 1 for one that is clearly the best, divided where now one and now another is. One
    whose error over all blocks is more than `DOUBT` standard errors above the least has no part in it. Of
    the weight of a forecast that has a simpler one of its kind, that one gets all but the share
    max(0, 1 - (k e / g)^2), where g is the mean gain over it, e the standard error of the gain, and k
    `EARNED`; without a gain it gets all. Then the choice is drawn towards the better of the forecasts without
    coefficients, in the same way with k `DOUBT`, and becomes u.

    s = r max(0, 1 - (q e / r)^2), clipped to [0, 1], where r is the least-squares factor of the step from u
    to a mixture, each block being forecast by the mixture that is best on the other blocks; e is its standard
    error, q the 97.5 % quantile of Student's t.

    Args:
        products: Products of errors, from `error_products`, of windows in the order of time, float64,
            (window, target, leads, forecast, forecast).
        n_simple: Number of leading forecasts that have no coefficients, 1 or more.
        simpler: Index of the forecast of the same kind with fewer coefficients, by that of a forecast.

    Returns:
        Weights, float64, (forecast, target, leads).

    Source:
        Bates and Granger (1969), Operational Research Quarterly 20, 451-468: weights of a combination of
        forecasts from their past errors. Breiman (1996), Machine Learning 24, 123-140: a choice that is
        unstable is improved by averaging it over samples. Breiman et al. (1984), Classification and
        Regression Trees, 3.4.3: the simplest within a standard error of the best. Stone (1974), Journal of
        the Royal Statistical Society B 36, 111-147: weights judged on what they were not fitted on. Efron and
        Morris (1973), Journal of the American Statistical Association 68, 117-130: estimates shrunk towards a
        prior value, the more the less certain they are.
    """
    blocks = torch.stack([block.sum(0) for block in in_blocks(products, products.shape[2])])
    total = blocks.sum(0)
    choice, mixture = _choice(blocks), _best_mixture(total)
    share = torch.zeros(total.shape[:-2], dtype=total.dtype)
    if len(blocks) > 1:
        for ours, theirs in simpler.items():
            own, other = (one_hot(torch.tensor(i), choice.shape[-1]).to(choice) for i in (ours, theirs))
            lost = 1 - _kept(own, other, blocks, EARNED)
            choice = choice + (choice[..., ours] * lost)[..., None] * (other - own)
        simple = blocks.diagonal(dim1=-2, dim2=-1)[..., :n_simple].sum(0).argmin(-1)
        start = one_hot(simple, choice.shape[-1]).to(choice)
        choice = start + _kept(choice, start, blocks, DOUBT)[..., None] * (choice - start)
        steps = _best_mixture(total - blocks) - choice
        towards = _form(blocks, -steps, choice.expand_as(steps))
        share = shrunk(*ratio_with_interval(towards, _form(blocks, steps, steps))).clamp(0, 1)
    share = share * (total.diagonal(dim1=-2, dim2=-1).sum(-1) > 0)
    return (choice + share[..., None] * (mixture - choice)).movedim(-1, 0)


def _choice(blocks: Tensor) -> Tensor:
    """Return the choice of single forecasts, (..., forecast), see `combination_weights`."""
    squares = blocks.diagonal(dim1=-2, dim2=-1)
    n = len(squares)
    halves = combinations(range(n), (n + 1) // 2)
    best = [squares[list(half)].sum(0).argmin(-1) for half in halves]
    share = one_hot(torch.stack(best), squares.shape[-1]).double().mean(0)
    least = squares.sum(0).argmin(-1, keepdim=True)
    mean, error = _mean_with_error(squares - squares.gather(-1, least.expand(n, *least.shape)))
    share = share * (mean <= DOUBT * error)
    share = share.where(share.sum(-1, keepdim=True) > 0, one_hot(least[..., 0], share.shape[-1]).double())
    return share / share.sum(-1, keepdim=True)


def _kept(weights: Tensor, simple: Tensor, blocks: Tensor, doubt: float) -> Tensor:
    """Return the share of the step from simple weights to others that their gain over them justifies."""
    gain, error = _mean_with_error(_form(blocks, simple, simple) - _form(blocks, weights, weights))
    return shrunk(torch.ones_like(gain), doubt * error / gain.abs().clamp(min=1e-300)) * (gain > 0)


def _mean_with_error(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over the first axis, and its standard error, which is 0 for a single value."""
    if len(values) == 1:
        return values[0], torch.zeros_like(values[0])
    return values.mean(0), values.std(0) / math.sqrt(len(values))


def in_blocks(values: Tensor, overlap: int) -> tuple[Tensor, ...]:
    """Divide windows into at most `BLOCKS` successive blocks, longer than windows overlap if possible."""
    return values.tensor_split(max(1, min(BLOCKS, len(values) // overlap)))


def ratio_with_interval(products: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ratio of `ratio_with_error`, and the half width of its 95 % interval."""
    ratio, error = ratio_with_error(products, squares)
    return ratio, T_QUANTILES[len(products) - 1] * error


def shrunk(estimate: Tensor, half_width: Tensor) -> Tensor:
    """Return the estimate shrunk towards 0, the more the wider its interval is relative to it."""
    kept = 1 - (half_width / estimate.abs().clamp(min=1e-12)).square()
    return estimate * kept.nan_to_num(0).clamp(min=0)


def _form(products: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return a' P b for matrices and vectors, (..., forecast, forecast) and (..., forecast), broadcast."""
    return torch.einsum("...i,...ij,...j->...", a, products, b)


def _best_mixture(products: Tensor) -> Tensor:
    """Return the weights, at least 0 with the sum 1, of least squared error, (..., forecast).

    The minimum over the simplex is the minimum on one of its faces; all faces are tried.
    """
    n = products.shape[-1]
    scale = products.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-300)[..., None, None]
    scaled = products / scale + RIDGE * torch.eye(n, dtype=products.dtype)
    best = torch.zeros(products.shape[:-1], dtype=products.dtype)
    least = torch.full(products.shape[:-2], math.inf, dtype=products.dtype)
    for size in range(1, n + 1):
        for face in combinations(range(n), size):
            inside = scaled[..., face, :][..., face]
            solved = torch.linalg.solve(inside, torch.ones(size, 1, dtype=products.dtype)).squeeze(-1)
            weights = torch.zeros_like(best)
            weights[..., face] = solved / solved.sum(-1, keepdim=True)
            value = _form(scaled, weights, weights)
            better = (weights >= 0).all(-1) & (value < least)
            best = torch.where(better[..., None], weights, best)
            least = torch.where(better, value, least)
    return best
