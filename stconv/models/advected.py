"""A network that forecasts in a frame moving with the field, for rain on radar images."""

from __future__ import annotations

import torch
from torch import Tensor

from stconv.models.baselines import check_history
from stconv.models.registry import Network, register
from stconv.nn.motion import carry, motion, paths

MOST_FRAMES = 3
"""Number of newest frames from which the motion is estimated."""


@register
class Advected(Network):
    """Let a network forecast in a frame that moves with the field, and advect its forecast.

    The motion of the targets is estimated from the newest three frames by least squares, without learned
    weights. Older frames are advected to the time of the newest one, the network forecasts the change of the
    resting field, and each lead is advected further by a semi-Lagrangian scheme. Cells whose trajectory
    starts outside the grid are not advected. Around `Persistence` this is the common extrapolation of radar
    rain. Inputs other than the targets are not moved.

    Args:
        network: Inner network, which determines channels, frames and leads.
        match: Give each lead the distribution of values of the advected newest frame, in the rank order of
            the network's forecast: as much heavy rain as there is now, at the likeliest places. A forecast of
            least error is smooth and seldom reaches a threshold; a matched one does, with a larger error.
            Applied in evaluation mode only.

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
        """Return the mean of the members."""
        return self.members(x).mean(0)

    def members(self, x: Tensor) -> Tensor:
        """Advect each member."""
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
    """Give each map of a field the values of another map, in its own rank order; all shapes are equal."""
    order = field.flatten(2).argsort(-1)
    ascending = values.flatten(2).sort(-1).values
    return torch.zeros_like(ascending).scatter(-1, order, ascending).view_as(field)
