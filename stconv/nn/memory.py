"""Memory layout of a network's weights, and recomputation of blocks in the backward pass."""

from __future__ import annotations

import torch
from torch import nn

from stconv.nn.conv import Convolution


def channels_last(network: nn.Module) -> nn.Module:
    """Store the weights of all 3D convolutions channels-last, in place; forecasts do not change.

    Other parameters are left alone: one of four dimensions, such as a damping per cell, has no such layout.

    Returns:
        The network.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def recompute(network: nn.Module, wanted: bool = True) -> nn.Module:
    """Let every convolution block keep only its input for the backward pass, and compute the rest again.

    Gradients and running statistics do not change. Savings and costs are in benchmarks/RESULTS.md.

    Returns:
        The network.

    Source:
        Chen et al. (2016), arXiv 1604.06174.
    """
    for module in network.modules():
        if isinstance(module, Convolution):
            module.recompute = wanted
    return network
