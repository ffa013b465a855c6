"""How the weights of a network lie in memory, and what is kept there for the backward pass."""

from __future__ import annotations

import torch
from torch import nn

from stconv.nn.conv import Convolution


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


def recompute(network: nn.Module, wanted: bool = True) -> nn.Module:
    """Let every convolution block keep only its input for the backward pass, and run once more there.

    Gradients and running statistics do not change; what it saves and costs: benchmarks/RESULTS.md.

    Returns:
        The network.

    Source:
        Chen et al. (2016), arXiv 1604.06174.
    """
    for module in network.modules():
        if isinstance(module, Convolution):
            module.recompute = wanted
    return network
