"""Cross-entropy, the loss of event networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ConfigError, ShapeError
from stconv.losses.fields import weighted_mean


class EventLoss(nn.Module):
    """Cross-entropy on logits: binary for a single event, categorical for several classes.

    -mean(w o log p + (1 - o) log(1 - p)) over known outcomes; for classes -mean(sum_k w_k o_k log p_k)

    A weight above 1 lets rare events count more in training, but makes their probabilities too high: more
    events are detected, and the Brier score gets worse.

    Args:
        event_weight: Weight w of the cases in which the event happens, such as (1 - f) / f for an event of
            frequency f; for classes, one weight each.

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
            target: Outcome, 1 where the event (or class) happened, else 0; same shape.
            weight: Weight, same shape; 0 where the outcome is unknown.

        Returns:
            Mean cross-entropy, a scalar.

        Raises:
            ShapeError: The shapes differ, or the number of weights is not that of classes.
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
