"""A network around a network that bounds its forecast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stconv.errors import ConfigError
from stconv.models.registry import Network, register

Bound = float | Sequence[float | None] | None
"""One bound for all targets, one for each, or none."""


@register
class Bounded(Network):
    """Clamp the forecast of a network to bounds: rain is never negative, a fraction never above 1.

    The bounds apply in forecasts, not during training: a training forecast outside of the bounds keeps a
    gradient that leads it back. If the truth keeps to the bounds, clamping never increases an error.

    Networks and these bounds work on normalized values. A physical bound can be stated with scaling `none`
    (the same number), `minmax` over the whole grid (0 is the smallest value of the training period, 1 the
    largest) or `zscore` over the whole grid ((b - mean) / standard deviation for a bound b, with the
    statistics of `Preparation`). It cannot be stated for anomalies or for scaling by cell, where the same
    physical bound is a different number in every cell.

    Args:
        network: Network whose forecast is clamped; it determines channels, frames and leads.
        lower: Smallest normalized value: one for all targets, one (or null) for each, or null.
        upper: Largest normalized value, in the same form.

    Raises:
        ConfigError: There is no bound, not one for each target, or a lower bound is not below the upper one.
    """

    low: Tensor
    high: Tensor

    def __init__(self, network: Network, *, lower: Bound = None, upper: Bound = None) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        low = self._per_target("lower", lower, -torch.inf)
        high = self._per_target("upper", upper, torch.inf)
        if lower is None and upper is None:
            raise ConfigError("Bounded has no bound; give `lower`, `upper` or both, or leave Bounded out.")
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ConfigError(f"lower of Bounded is {lower} and upper {upper}; expected lower below upper.")
        self.network = network
        self.register_buffer("low", torch.tensor(low).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("high", torch.tensor(high).view(-1, 1, 1, 1), persistent=False)

    def compute(self, x: Tensor) -> Tensor:
        """Clamp the forecast of the network, except in training."""
        return self._clamped(self.network(x))

    def members(self, x: Tensor) -> Tensor:
        """Clamp each member, except in training."""
        return self._clamped(self.network.members(x))

    def open_paths(self) -> None:
        """Lift the bounds, outside of which gradients are zero: `stconv.nn.probing`."""
        self.low, self.high = torch.tensor(-torch.inf), torch.tensor(torch.inf)

    def _clamped(self, y: Tensor) -> Tensor:
        return y if self.training else torch.minimum(torch.maximum(y, self.low), self.high)

    def _per_target(self, name: str, bound: Bound, missing: float) -> list[float]:
        bounds = [bound] * self.c_out if bound is None or isinstance(bound, int | float) else list(bound)
        if len(bounds) != self.c_out:
            raise ConfigError(
                f"{name} of Bounded has {len(bounds)} values for {self.c_out} targets; expected one for "
                "each (null for none), or a single number."
            )
        return [missing if value is None else float(value) for value in bounds]
