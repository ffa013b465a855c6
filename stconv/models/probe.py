"""Detection of the input frames that each lead sees, by gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from stconv.models.registry import Network


def frames_seen(network: Network, n_lat: int = 8, n_lon: int = 8, seed: int = 0) -> Tensor:
    """Find the input frames that influence each lead.

    A lead sees a frame if the gradient of a random sum over the lead's values is nonzero anywhere in the
    frame. The input is random and the network is in evaluation mode, so that an exact zero means that there
    is no path.

    Args:
        network: Network; its mode and gradients are left unchanged.
        n_lat: Number of rows of the input.
        n_lon: Number of columns of the input.
        seed: Seed of the random input.

    Returns:
        Whether each lead sees each frame, bool, (leads, t_in).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, network.c_in, network.t_in, n_lat, n_lon, generator=generator).requires_grad_()
    was_training = network.training
    network.eval()
    try:
        y = network(x)
    finally:
        network.train(was_training)
    seen = torch.zeros(network.leads, network.t_in, dtype=torch.bool)
    if not y.requires_grad:
        return seen
    weight = torch.rand(y.shape, generator=generator) + 0.5
    for lead in range(network.leads):
        (gradient,) = torch.autograd.grad((weight * y)[:, :, lead].sum(), x, retain_graph=True)
        seen[lead] = gradient.abs().amax(dim=(0, 1, 3, 4)) > 0
    return seen
