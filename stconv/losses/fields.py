"""Losses of deterministic forecasts, pointwise or on the spatial spectrum."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError
from stconv.ranks import sums_of_all


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Average over all cells, sum(weight * values) / sum(weight), in a training those of all processes.

    Args:
        values: Values of any shape, floating point.
        weight: Weights, same shape, not negative.

    Returns:
        Weighted mean, a scalar; 0 if every weight is 0, so that a batch without valid cells has no effect.
    """
    of_values, total = sums_of_all(torch.stack([(values * weight).sum(), weight.sum()]))
    return of_values / torch.where(total > 0, total, 1)


def check_shapes(prediction: Tensor, target: Tensor, weight: Tensor) -> None:
    """Refuse tensors that would be broadcast.

    Raises:
        ShapeError: The shapes differ.
    """
    if not prediction.shape == target.shape == weight.shape:
        raise ShapeError(
            f"A loss needs three tensors of one shape, found prediction {tuple(prediction.shape)}, "
            f"target {tuple(target.shape)} and weight {tuple(weight.shape)}. "
            "Check c_out and leads of the network."
        )


class PointwiseLoss(nn.Module):
    """Base class: weighted mean of a pointwise error."""

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the error of each cell, shaped like the arguments."""
        raise NotImplementedError

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average the error over the valid cells.

        Args:
            prediction: Forecast, normalized, float32, (batch, channel, lead, lat, lon).
            target: Target, same shape; finite everywhere.
            weight: Weight, same shape; 0 where the target is missing.

        Returns:
            Scalar.

        Raises:
            ShapeError: The shapes differ.
        """
        check_shapes(prediction, target, weight)
        return weighted_mean(self.error(prediction, target), weight)


class MaskedMSE(PointwiseLoss):
    """Mean squared error, (p - t)^2."""

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the squared error of each cell."""
        return (prediction - target).square()


class MaskedMAE(PointwiseLoss):
    """Mean absolute error, |p - t|.

    Args:
        at_least: Smallest target of the cells that count, in the units of the loss (`model.loss_units`), as
            in some published scores of counts. The network then forecasts the amount given that there is any,
            which is too much where there is little. None counts all cells.
    """

    def __init__(self, at_least: float | None = None) -> None:
        super().__init__()
        self.at_least = at_least

    def counted(self, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weight, 0 where a target does not count."""
        return weight if self.at_least is None else weight * (target >= self.at_least)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average the error over the valid cells that count; see `PointwiseLoss.forward`."""
        return super().forward(prediction, target, self.counted(target, weight))

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the absolute error of each cell."""
        return (prediction - target).abs()


class MaskedHuber(PointwiseLoss):
    """Huber loss: 0.5 e^2 while |e| <= delta, delta (|e| - 0.5 delta) beyond.

    Args:
        delta: Error at which the loss turns from quadratic to linear, in normalized units.

    Raises:
        ConfigError: delta is not positive.

    Source:
        Huber (1964), Annals of Mathematical Statistics 35, 73-101.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        if not delta > 0:
            raise ConfigError(f"MaskedHuber: delta is {delta}; expected a positive number, such as 1.0.")
        self.delta = delta

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the Huber error of each cell."""
        return F.huber_loss(prediction, target, reduction="none", delta=self.delta)


class LogCosh(PointwiseLoss):
    """log(cosh(p - t)), which is e^2 / 2 for a small error e and |e| - log 2 for a large one.

    It is computed as |e| + log(1 + exp(-2 |e|)) - log 2, which does not overflow.

    Source:
        Saleh and Saleh (2022), arXiv 2208.04564.
    """

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the log-cosh error of each cell."""
        size = (prediction - target).abs()
        return size + F.softplus(-2 * size) - math.log(2)


class Quantile(PointwiseLoss):
    """Pinball loss max(q (t - p), (q - 1) (t - p)), which is minimal at quantile q.

    Args:
        level: Quantile q, between 0 and 1; 0.5 gives half the absolute error, a larger q a higher forecast.

    Raises:
        ConfigError: The level is not between 0 and 1.

    Source:
        Koenker and Bassett (1978), Econometrica 46, 33-50.
    """

    def __init__(self, level: float = 0.5) -> None:
        super().__init__()
        if not 0 < level < 1:
            raise ConfigError(f"Quantile: level is {level}; expected between 0 and 1, such as 0.9.")
        self.level = level

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the pinball loss of each cell."""
        below = target - prediction
        return torch.maximum(self.level * below, (self.level - 1) * below)


class RootMSE(MaskedMSE):
    """Root mean squared error of the batch, sqrt(MSE + epsilon), the loss that STConvS2S was trained with.

    Args:
        epsilon: Constant that keeps the gradient of the root finite at 0, in squared normalized units.

    Raises:
        ConfigError: epsilon is not positive.

    Source:
        Castro et al. (2021), Neurocomputing 426, 285-298.
    """

    exponent: ClassVar[int] = 2
    """Over several batches the squares are averaged, see `exponent_of`."""

    def __init__(self, epsilon: float = 1e-6) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ConfigError(f"RootMSE: epsilon is {epsilon}; expected a positive number, such as 1e-6.")
        self.epsilon = epsilon

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the root of the mean that `MaskedMSE` computes."""
        return torch.sqrt(super().forward(prediction, target, weight) + self.epsilon)


class Spectral(MaskedMSE):
    """Mean squared error plus the mean difference of spatial amplitudes, which penalizes smooth forecasts.

    MSE + share * mean over wavenumbers of | |rfft2(p)| - |rfft2(t)| | / sqrt(cells)

    Missing cells are set to zero in both fields, so that they do not differ there. The spectral term does not
    weight cells by area.

    Args:
        share: Factor on the spectral term.
        epsilon: Constant that keeps the gradient of an amplitude finite at 0, in squared normalized units.

    Raises:
        ConfigError: The share or epsilon is not positive.

    Source:
        Jiang et al. (2021), arXiv 2012.12821 (focal frequency loss), here on amplitudes and without its
        weights.
    """

    def __init__(self, share: float = 0.1, epsilon: float = 1e-6) -> None:
        super().__init__()
        if not (share > 0 and epsilon > 0):
            raise ConfigError(f"Spectral: share is {share} and epsilon {epsilon}; expected positive numbers.")
        self.share, self.epsilon = share, epsilon

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Add the spectral term to the mean that `MaskedMSE` computes."""
        error = super().forward(prediction, target, weight)
        known = weight > 0
        ours, theirs = (self._amplitude(torch.where(known, field, 0)) for field in (prediction, target))
        return error + self.share * (ours - theirs).abs().mean()

    def _amplitude(self, field: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft2(field, norm="ortho"))
        return (spectrum.square().sum(-1) + self.epsilon).sqrt()
