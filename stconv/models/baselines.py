"""Reference forecasts without learned weights, and a network that learns the change from persistence."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from stconv.errors import ConfigError
from stconv.models.registry import Network, register


@register
class Persistence(Network):
    """Persistence: every lead is the newest frame of the targets.

    y[l] = x[:, :c_out, t_in - 1]

    Args:
        c_in: Number of input channels; the targets' own history comes first.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.

    Raises:
        ConfigError: There are fewer input than target channels, so that some target has no history.
    """

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        check_history(self)

    def compute(self, x: Tensor) -> Tensor:
        """Repeat the newest frame of the targets."""
        return x[:, : self.c_out, -1:].repeat(1, 1, self.leads, 1, 1)


@register
class Climatology(Network):
    """The climatology: an anomaly of zero at every lead; the data must be anomalies.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
    """

    anomalies_only: ClassVar[bool] = True

    def __init__(self, c_in: int, c_out: int, t_in: int, leads: int) -> None:
        super().__init__(c_in, c_out, t_in, leads)

    def compute(self, x: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros(x.shape[0], self.c_out, self.leads, *x.shape[-2:], dtype=x.dtype, device=x.device)


@register
class Increment(Network):
    """Add the forecast of a network to the newest frame, so that the network learns the change.

    y[l] = x[:, :c_out, t_in - 1] + network(x)[l]

    Args:
        network: Network for the change, which determines channels, frames and leads.

    Raises:
        ConfigError: The network has fewer input than output channels.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        check_history(self)
        self.network = network

    def compute(self, x: Tensor) -> Tensor:
        """Add the network's output to the newest frame of the targets."""
        change: Tensor = self.network(x)
        return x[:, : self.c_out, -1:] + change

    def members(self, x: Tensor) -> Tensor:
        """Add each member to the newest frame of the targets."""
        return x[:, : self.c_out, -1:] + self.network.members(x)


def check_history(network: Network) -> None:
    """Mark a network that starts from the targets' newest frame, and require such a frame for each target.

    Raises:
        ConfigError: There are fewer input than target channels.
    """
    if network.c_in < network.c_out:
        raise ConfigError(
            f"{type(network).__name__} has {network.c_in} input channels for {network.c_out} targets; it "
            "starts from the targets' own newest frame and expects at least as many. "
            "Add the targets to the inputs."
        )
    network.needs_history = True
