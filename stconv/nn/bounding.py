"""Members of a distribution drawn into bounds without a change of their mean."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn_above(members: Tensor, floor: Tensor) -> Tensor:
    """Raise the members below a floor to it and lower all others by one amount, so that their mean stays.

    y_i = max(x_i - a, floor), with a >= 0 such that mean y = mean x

    This is the point nearest to the members, in the sum of squares, among all members above the floor with
    their mean. Rain below zero thus becomes a share of dry members. Where the mean itself is below the floor,
    all members are the mean.

    Args:
        members: Members, (member, ...).
        floor: Smallest value, of the shape of a member or broadcast to it, finite.

    Returns:
        Members of the same shape, in the same order.

    Source:
        Held et al. (1974), Mathematical Programming 6, 62-88: the projection onto a simplex, for which a is
        the largest of the amounts that are right if only the k highest members stay above the floor.
    """
    n = len(members)
    excess = members - floor
    total = excess.sum(0)
    highest = excess.sort(dim=0, descending=True).values.cumsum(0)
    count = torch.arange(1, n + 1, dtype=members.dtype, device=members.device).view(-1, *[1] * total.ndim)
    lowered = ((highest - total) / count).amax(0)
    return torch.where(total > 0, floor + (excess - lowered).clamp(min=0), members.mean(0))
