"""Losses: what training minimizes, over valid cells only and weighted by area.

All are called `loss(prediction, target, weight) -> scalar`, on normalized values. `weight` is 0 where the
target is missing (`target` must hold some finite value there) and elsewhere the share of the cell's area.
"""

from __future__ import annotations

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
        if not prediction.shape == target.shape == weight.shape:
            raise ShapeError(
                f"A loss needs three tensors of one shape, found prediction {tuple(prediction.shape)}, "
                f"target {tuple(target.shape)} and weight {tuple(weight.shape)}. "
                "Check c_out and leads of the network."
            )
        return weighted_mean(self.error(prediction, target), weight)


class MaskedMSE(PointwiseLoss):
    """Mean squared error, (p - t)^2."""

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Squared error of each cell."""
        return (prediction - target).square()


class MaskedMAE(PointwiseLoss):
    """Mean absolute error, |p - t|."""

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


class EventLoss(nn.Module):
    """Cross-entropy of an event, on logits: binary for one event, over the classes for several.

    -mean of (w o log p + (1 - o) log(1 - p)) over known outcomes; of classes -mean of sum_k w_k o_k log p_k

    A weight other than 1 makes rare events count more in training, and the probabilities too high for them:
    good for finding events, bad for the Brier score.

    Args:
        event_weight: Weight w of the cases in which the event happens, such as (1 - f) / f for an event of
            frequency f; of classes one for each.

    Raises:
        ConfigError: A weight is not positive.
    """

    weight: Tensor

    def __init__(self, event_weight: float | list[float] = 1.0) -> None:
        super().__init__()
        weights = [event_weight] if isinstance(event_weight, int | float) else list(event_weight)
        if not weights or min(weights) <= 0:
            raise ConfigError(f"EventLoss: event_weight is {event_weight}; expected positive numbers.")
        self.register_buffer("weight", torch.tensor(weights).view(1, -1, 1, 1, 1), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Average over the known outcomes.

        Args:
            prediction: Logits, float32, (batch, class, lead, 1, 1).
            target: 1 where the event (the class) happened, else 0; the same shape.
            weight: Same shape; 0 where the outcome is not known.

        Returns:
            Scalar.

        Raises:
            ShapeError: The shapes differ, or there is not a weight for each class.
        """
        n_classes = prediction.shape[1]
        if not prediction.shape == target.shape == weight.shape or len(self.weight[0]) not in (1, n_classes):
            raise ShapeError(
                f"EventLoss needs three tensors of one shape, found logits {tuple(prediction.shape)}, "
                f"outcomes {tuple(target.shape)} and weights {tuple(weight.shape)}, and one "
                f"event_weight or one for each class, found {len(self.weight[0])}. "
                "Check data.event and the network."
            )
        if n_classes == 1:
            error = F.binary_cross_entropy_with_logits(
                prediction, target, pos_weight=self.weight, reduction="none"
            )
            return weighted_mean(error, weight)
        error = -(self.weight * target * prediction.log_softmax(dim=1)).sum(dim=1)
        return weighted_mean(error, weight[:, 0])
