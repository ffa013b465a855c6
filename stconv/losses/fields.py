"""Losses of a single forecast: the error that each cell has for itself, and of the whole spectrum."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Average over all cells, sum(weight * values) / sum(weight).

    Args:
        values: Any shape, float.
        weight: Same shape, not negative.

    Returns:
        Scalar; 0 where every weight is 0, so that a batch without any valid cell leaves the network as it is.
    """
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, 1)


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
    """Base: the weighted mean of an error that each cell has for itself."""

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Error of each cell, in the shape of the arguments."""
        raise NotImplementedError

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average the error over the valid cells.

        Args:
            prediction: Normalized, float32, (batch, channel, lead, lat, lon).
            target: Same shape; finite everywhere.
            weight: Same shape; 0 where the target is missing.

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
        """Squared error of each cell."""
        return (prediction - target).square()


class MaskedMAE(PointwiseLoss):
    """Mean absolute error, |p - t|.

    Args:
        at_least: Count only cells whose target is at least so much, in the units of the loss
            (`model.loss_units`), as some published scores of counts do. A network then forecasts what comes
            if something comes: too much where little does. None counts all cells.
    """

    def __init__(self, at_least: float | None = None) -> None:
        super().__init__()
        self.at_least = at_least

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average the error over the valid cells that count; see `PointwiseLoss.forward`."""
        if self.at_least is not None:
            weight = weight * (target >= self.at_least)
        return super().forward(prediction, target, weight)

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute error of each cell."""
        return (prediction - target).abs()


class MaskedHuber(PointwiseLoss):
    """Huber loss: 0.5 e^2 while |e| <= delta, delta (|e| - 0.5 delta) beyond.

    Args:
        delta: Where the square turns into a line, in normalized units.

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
        """Huber error of each cell."""
        return F.huber_loss(prediction, target, reduction="none", delta=self.delta)


class LogCosh(PointwiseLoss):
    """log(cosh(p - t)): half the square of a small error, the size of a large one less log 2.

    Written as |e| + log(1 + exp(-2 |e|)) - log 2, which does not overflow.

    Source:
        Saleh and Saleh (2022), arXiv 2208.04564.
    """

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Log-cosh error of each cell."""
        size = (prediction - target).abs()
        return size + F.softplus(-2 * size) - math.log(2)


class Quantile(PointwiseLoss):
    """Pinball loss of one quantile: max(q (t - p), (q - 1) (t - p)); its least value is at that quantile.

    Args:
        level: q, between 0 and 1; 0.5 is half the absolute error, more asks for a higher forecast.

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
        """Pinball error of each cell."""
        below = target - prediction
        return torch.maximum(self.level * below, (self.level - 1) * below)


class RootMSE(MaskedMSE):
    """Root of the mean squared error of the batch, sqrt(MSE + epsilon), as STConvS2S was trained with.

    Args:
        epsilon: Keeps the slope of the root finite at 0, in squared normalized units.

    Raises:
        ConfigError: epsilon is not positive.

    Source:
        Castro et al. (2021), Neurocomputing 426, 285-298.
    """

    def __init__(self, epsilon: float = 1e-6) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ConfigError(f"RootMSE: epsilon is {epsilon}; expected a positive number, such as 1e-6.")
        self.epsilon = epsilon

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average as `MaskedMSE` does, then take the root."""
        return torch.sqrt(super().forward(prediction, target, weight) + self.epsilon)


class Spectral(MaskedMSE):
    """Mean squared error, plus the mean difference of spatial amplitudes: a smooth forecast lacks some.

    MSE + share * mean over wavenumbers of | |rfft2(p)| - |rfft2(t)| | / sqrt(cells)

    Missing cells are set to zero in both, so that they differ nowhere. In the spectrum every cell counts
    alike.

    Args:
        share: Of the spectral term.
        epsilon: Keeps the slope of an amplitude finite at 0, in squared normalized units.

    Raises:
        ConfigError: The share or epsilon is not positive.

    Source:
        Jiang et al. (2021), arXiv 2012.12821 (focal frequency loss), with amplitudes and without its focus.
    """

    def __init__(self, share: float = 0.1, epsilon: float = 1e-6) -> None:
        super().__init__()
        if not (share > 0 and epsilon > 0):
            raise ConfigError(f"Spectral: share is {share} and epsilon {epsilon}; expected positive numbers.")
        self.share, self.epsilon = share, epsilon

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average as `MaskedMSE` does, and add the spectral term."""
        error = super().forward(prediction, target, weight)
        known = weight > 0
        ours, theirs = (self._amplitude(torch.where(known, field, 0)) for field in (prediction, target))
        return error + self.share * (ours - theirs).abs().mean()

    def _amplitude(self, field: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft2(field, norm="ortho"))
        return (spectrum.square().sum(-1) + self.epsilon).sqrt()
