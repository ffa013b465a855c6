"""A network in a frame that moves with the field, as rain and its radar pictures do."""

from __future__ import annotations

import torch
from torch import Tensor

from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.motion import carry, motion, paths

MOST_FRAMES = 3
"""The motion is that of the newest frames."""


@register
class Advected(Network):
    """Let a network forecast in a frame that moves with the field, and carry its forecast on.

    The motion of the targets is found between the newest three frames, by least squares and without a
    weight. Older frames are carried to where they would be now, the network forecasts what becomes of the
    field at rest, and each lead is carried on, semi-Lagrangian. Where the path comes from outside of the
    grid, nothing is carried: there the forecast is that of a network without motion. Around `Persistence`
    it is the usual extrapolation of radar rain. Other inputs than the targets stay where they are.

    Args:
        network: The network; it gives this one its channels, frames and leads.
        match: Let each lead take on, in the order of the network's forecast, the values of the newest frame
            carried on: as much heavy rain as there is now, at the likeliest places. A forecast of least
            error is smooth and seldom reaches a threshold; one that is matched does, at the price of a larger
            error. Only when the network forecasts, not while it trains.

    Raises:
        ConfigError: The network has fewer input than output channels.

    Source:
        Germann and Zawadzki (2002), Monthly Weather Review 130, 2859-2873 (Lagrangian persistence); Ebert
        (2001), Monthly Weather Review 129, 2461-2480 (matching the distribution).
    """

    def __init__(self, network: Network, *, match: bool = False) -> None:
        super().__init__(network.c_in, network.c_out, network.t_in, network.leads)
        check_history(self)
        self.network = network
        self.match = match

    def compute(self, x: Tensor) -> Tensor:
        """Mean of the members."""
        return self.members(x).mean(0)

    def members(self, x: Tensor) -> Tensor:
        """Carry each member on."""
        targets = x[:, : self.c_out]
        back = paths(motion(targets[:, :, -MOST_FRAMES:]), max(self.leads, self.t_in - 1))
        aligned = [carry(targets[:, :, -1 - age], back[age - 1]) for age in range(self.t_in - 1, 0, -1)]
        moving = torch.cat([torch.stack([*aligned, targets[:, :, -1]], 2), x[:, self.c_out :]], 1)
        members = self.network.members(moving)
        n_members = len(members)
        leads = []
        for lead, displacement in enumerate(back[: self.leads]):
            field = carry(members[..., lead, :, :].movedim(0, 1).flatten(1, 2), displacement)
            if self.match and not self.training:
                newest = carry(targets[:, :, -1], displacement)
                field = matched(field, newest.repeat(1, n_members, 1, 1))
            leads.append(field.unflatten(1, (n_members, self.c_out)).movedim(1, 0))
        return torch.stack(leads, 3)


def matched(field: Tensor, values: Tensor) -> Tensor:
    """Give each map of a field the values of another one, in its own order; shaped like both."""
    order = field.flatten(2).argsort(-1)
    ascending = values.flatten(2).sort(-1).values
    return torch.zeros_like(ascending).scatter(-1, order, ascending).view_as(field)
