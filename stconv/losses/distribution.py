"""Losses of probabilistic forecasts, computed from the members in each cell."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.losses.fields import check_shapes, weighted_mean
from stconv.nn.normal_scores import normal_scores


class DistributionLoss(nn.Module):
    """Base class: weighted mean of a pointwise error of a distribution."""

    within_bounds: ClassVar[bool] = True
    """Whether the members are drawn into the bounds of their target before the loss."""

    def error(self, members: Tensor, target: Tensor) -> Tensor:
        """Return the error of each cell, shaped like the target."""
        raise NotImplementedError

    def forward(self, members: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average the error over the valid cells.

        Args:
            members: Equally probable members, normalized, (member, batch, channel, lead, lat, lon).
            target: Target, normalized, (batch, channel, lead, lat, lon); finite everywhere.
            weight: Weight, shaped like the target; 0 where it is missing.

        Returns:
            Weighted mean, a scalar.

        Raises:
            ShapeError: A member is not shaped like the target.
            ConfigError: There is a single member.
        """
        check_shapes(members[0], target, weight)
        if len(members) < 2:
            raise ConfigError(
                f"{type(self).__name__} needs a network that forecasts a distribution, and this one makes "
                "a single forecast. Put the network into `Quantiles` or `Gaussian` of stconv.models, or "
                "choose another loss."
            )
        return weighted_mean(self.error(members, target), weight)


class CRPS(DistributionLoss):
    """Continuous ranked probability score of the members, mean |x_i - t| - 1/2 mean |x_i - x_j|.

    For n ascending members it is twice the mean pinball loss of the quantiles (i - 1/2) / n. It suits
    `Quantiles` and any ensemble.

    Args:
        fair: Whether to average the second term over n (n - 1) pairs instead of n^2, for members drawn at
            random; not for quantiles.
        squared_error: Weight of the squared error of the mean of the members, which is added. The mean then
            is trained by it alone, the members around it by the CRPS: for rain and counts, where few members
            cannot show how rare large values raise the mean.

    Raises:
        ConfigError: squared_error is negative.

    Source:
        Zamo and Naveau (2018), Mathematical Geosciences 50, 209-234; Broecker (2012), QJRMS 138,
        1611-1617: the quantiles that minimize it.
    """

    def __init__(self, fair: bool = False, squared_error: float = 0.0) -> None:
        super().__init__()
        if not squared_error >= 0:
            raise ConfigError(f"CRPS: squared_error is {squared_error}; expected 0 or a positive number.")
        self.fair, self.squared_error = fair, squared_error

    def error(self, members: Tensor, target: Tensor) -> Tensor:
        """Return the CRPS of each cell, from sorted members, and the weighted squared error of their mean."""
        if not self.squared_error:
            return self._crps(members, target)
        mean = members.mean(0)
        crps = self._crps(members - mean + mean.detach(), target)
        return crps + self.squared_error * (mean - target).square()

    def _crps(self, members: Tensor, target: Tensor) -> Tensor:
        n = len(members)
        position = 2 * torch.arange(1, n + 1, dtype=target.dtype, device=target.device) - n - 1
        ordered = members.sort(dim=0).values
        spread = torch.tensordot(position, ordered, 1) / (n * (n - 1) if self.fair else n * n)
        return (members - target).abs().mean(0) - spread


class GaussianCRPS(DistributionLoss):
    """CRPS of the normal distribution with the members' mean and spread, in closed form.

    s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (t - m) / s. It suits `Gaussian`, whose members have
    exactly its mean and standard deviation.

    Args:
        epsilon: Constant added to the variance, so that the gradient is finite where all members agree.

    Raises:
        ConfigError: epsilon is not positive.

    Source:
        Gneiting and Raftery (2007), JASA 102, 359-378, eq. 21.
    """

    within_bounds = False

    def __init__(self, epsilon: float = 1e-6) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ConfigError(f"GaussianCRPS: epsilon is {epsilon}; expected a positive number like 1e-6.")
        self.epsilon = epsilon

    def error(self, members: Tensor, target: Tensor) -> Tensor:
        """Return the CRPS of each cell."""
        variance = members.var(0, correction=0) / normal_scores(len(members)).var(correction=0).item()
        spread = (variance + self.epsilon).sqrt()
        z = (target - members.mean(0)) / spread
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        return spread * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
