"""How the weights of a network lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of all 3D convolutions out with the channel last, in place; forecasts do not change.

    Only convolutions: a parameter of four dimensions, such as a damping per cell, can not follow.

    Returns:
        The network.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network
