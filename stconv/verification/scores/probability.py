"""Scores of a probability, a band or an ensemble, cell by cell.

Each function is NaN where the truth or the forecast is, and adds nothing up: `calibration.py` pools.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from stconv.errors import ConfigError, ShapeError

Field: TypeAlias = Tensor | np.ndarray


def brier(probability: Field, event: Field) -> Tensor:
    """Brier score, in [0, 1]: (p - o)^2 with o = 1 where the event happened, else 0.

    Args:
        probability: Forecast probability of the event, in [0, 1].
        event: 1 or 0, NaN where it is not known; the same shape.

    Raises:
        ConfigError: A probability is not in [0, 1], or an event is neither 0 nor 1.

    Source:
        Brier (1950), Monthly Weather Review 78, 1-3, in the form for one event.
    """
    probability, event = _alike(probability, event)
    check_probability(probability)
    if ((event != 0) & (event != 1) & torch.isfinite(event)).any():
        raise ConfigError("An event of a Brier score is neither 0 nor 1; compare with a threshold first.")
    return (probability - event) ** 2


def crps_ensemble(members: Field, truth: Field, fair: bool = False) -> Tensor:
    """Continuous ranked probability score of an ensemble, in the units of the truth.

    crps = mean |x_i - y| - 1/2 mean |x_i - x_j|, over all M^2 pairs, or over the M (M - 1) different ones if
    fair; of one member it is the absolute error.

    Args:
        members: (member, ...); a cell where one is NaN is NaN.
        truth: Observed, shaped like a member.
        fair: Estimate what an infinite ensemble of the same kind would score, instead of scoring this one.

    Raises:
        ConfigError: A fair score is asked of a single member.

    Source:
        Zamo and Naveau (2018), Mathematical Geosciences 50, 209-234, eq. 3 and 4; pairs from sorted members.
    """
    members, truth = _stacked(members, truth)
    n = len(members)
    if fair and n < 2:
        raise ConfigError("A fair CRPS needs 2 members or more; found 1.")
    ordered = members.sort(dim=0).values
    position = 2 * torch.arange(1, n + 1, dtype=truth.dtype, device=truth.device) - n - 1
    spread = torch.tensordot(position, ordered, 1) / (n * (n - 1) if fair else n * n)
    return (members - truth).abs().mean(0) - spread


def inside(lower: Field, upper: Field, truth: Field) -> Tensor:
    """1 where the truth is in the band, bounds included, 0 where not; its mean is the coverage.

    Args:
        lower: Lower bound of the band.
        upper: Upper bound; the same shape.
        truth: Observed; the same shape.
    """
    lower, upper, truth = _alike(lower, upper, truth)
    known = torch.isfinite(truth) & ~torch.isnan(lower) & ~torch.isnan(upper)
    return torch.where(known, ((lower <= truth) & (truth <= upper)).to(truth.dtype), torch.nan)


def interval_score(lower: Field, upper: Field, truth: Field, level: float) -> Tensor:
    """Width of a band plus a penalty for the truth outside of it, in the units of the truth; less is better.

    score = (u - l) + 2 / (1 - level) ((l - y) [y < l] + (y - u) [y > u])

    Args:
        lower: Lower bound l.
        upper: Upper bound u; the same shape.
        truth: Observed y; the same shape.
        level: Share of truths the band is said to hold, in (0, 1).

    Raises:
        ConfigError: The level is not in (0, 1).

    Source:
        Gneiting and Raftery (2007), JASA 102, 359-378, eq. 43.
    """
    check_level(level)
    lower, upper, truth = _alike(lower, upper, truth)
    outside = (lower - truth).clamp(min=0) + (truth - upper).clamp(min=0)
    return upper - lower + 2 / (1 - level) * outside


def rank_shares(members: Field, truth: Field) -> Tensor:
    """Share of each rank of the truth among M members, (M + 1, ...): 1 at its rank, shared among ties.

    Its mean over cells is the rank histogram: flat if the truth is one more member, U-shaped if the ensemble
    is too narrow.

    Args:
        members: (member, ...); a cell where one is NaN is NaN.
        truth: Observed, shaped like a member.

    Source:
        Hamill (2001), Monthly Weather Review 129, 550-560.
    """
    members, truth = _stacked(members, truth)
    below, ties = (members < truth).sum(0), (members == truth).sum(0)
    known = torch.isfinite(members).all(0) & torch.isfinite(truth)
    share = torch.where(known, 1 / (ties + 1).to(truth.dtype), torch.nan)
    ranks = torch.arange(len(members) + 1, device=truth.device).view(-1, *[1] * truth.ndim)
    return torch.where((ranks >= below) & (ranks <= below + ties) | ~known, share, 0)


def check_probability(probability: Tensor) -> None:
    """Hold probabilities to [0, 1]; NaN is missing.

    Raises:
        ConfigError: One is outside.
    """
    wrong = (probability < 0) | (probability > 1)
    if wrong.any():
        found = float(probability[wrong][0])
        raise ConfigError(f"{int(wrong.sum())} probabilities are not in [0, 1], the first is {found:.4g}.")


def check_level(level: float) -> None:
    """Hold the level of a band to (0, 1): 0.8, not 80.

    Raises:
        ConfigError: It is outside.
    """
    if not 0 < level < 1:
        raise ConfigError(f"The level of a band is {level}; expected between 0 and 1, such as 0.8 for 80 %.")


def _alike(*fields: Field) -> list[Tensor]:
    tensors = [torch.as_tensor(field).detach() for field in fields]
    tensors = [tensor if tensor.is_floating_point() else tensor.float() for tensor in tensors]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ShapeError(f"Forecast and truth of a score have the shapes {shapes}; expected the same.")
    return tensors


def _stacked(stack: Field, truth: Field) -> tuple[Tensor, Tensor]:
    """A stack of fields (members, quantiles) and the truth they are shaped like."""
    fields, observed = (torch.as_tensor(field).detach() for field in (stack, truth))
    if fields.shape[1:] != observed.shape or not len(fields):
        raise ShapeError(
            f"Members or quantiles are {tuple(fields.shape)}; expected a first dimension of their own, "
            f"then the shape of the truth, {tuple(observed.shape)}."
        )
    return fields, observed
