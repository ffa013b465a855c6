"""Feature visualization by optimization: the input that a channel of a layer responds to most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.models import Network
from stconv.spacing import evenly_spaced

N_STEPS, RATE, NOISE = 300, 0.1, 0.01
"""Steps of Adam, its first learning rate (it falls to zero along a cosine), and the spread of the start."""
L2, TOTAL_VARIATION = 0.1, 0.005
"""Weights of the penalties, for a response whose gradient at the start has the norm 1."""
SMOOTHED = 1e-6
"""Added under the root of the total variation, whose corner at zero has no gradient."""
LARGEST = 64
"""Cells along lat and lon, at most, of a field for a network that takes any grid."""
MOST_NAMES = 12
"""Names of layers, at most, that an error message gives."""


@dataclass(frozen=True)
class Optimum:
    """The input that maximizes the response of a channel.

    Attributes:
        layer: Path of the layer in the network.
        channel: Number of the channel in it, from 0.
        field: Normalized input, float32, (c_in, t_in, lat, lon).
        start: Response to the noise that the ascent began with.
        response: Response to the field, before the activation.
    """

    layer: str
    channel: int
    field: np.ndarray
    start: float
    response: float


def find_optimum(
    network: Network,
    layer: str,
    channel: int = 0,
    grid: tuple[int, int] = (32, 32),
    *,
    seed: int = 0,
    l2: float = L2,
    total_variation: float = TOTAL_VARIATION,
) -> Optimum:
    """Maximize a(x) / |da/dx at the start| - l2 / 2 sum x^2 - total_variation sum |dx| by gradient ascent.

    a is the response of the channel at the central cell, at the newest step or, where that depends on fewer
    input frames, the central one. dx are the differences of neighbors along time, lat and lon.

    Args:
        network: Used in evaluation mode, and left as it is.
        layer: As `stconv explain` names it, or a module's path; of a block its convolution.
        channel: Number of the channel, from 0.
        grid: (lat, lon) cells, cut to `LARGEST`; a network that is built for a grid takes its own.
        seed: Seed of the noise from which the ascent starts.
        l2: Weight of the penalty of large values.
        total_variation: Weight of the penalty of rough fields.

    Raises:
        ConfigError: There is no such layer or channel, its output is not a field, or nothing that is put in
            changes it.

    Source:
        Erhan et al. (2009), Visualizing higher-layer features of a deep network; total variation as in
        Mahendran and Vedaldi (2015), arXiv 1412.0035, equation 4.
    """
    module, n_lat, n_lon = _module(network, layer), *(network.own_grid or grid)
    if network.own_grid is None:
        n_lat, n_lon = min(n_lat, LARGEST), min(n_lon, LARGEST)
    kept: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _args, output: kept.append(output))
    was_training = network.training
    network.eval()
    noise = torch.randn(
        1, network.c_in, network.t_in, n_lat, n_lon, generator=torch.Generator().manual_seed(seed)
    )
    x = (NOISE * noise).requires_grad_()

    def respond() -> Tensor:
        kept.clear()
        network(x)
        return _channel(kept, layer, channel)

    try:
        with torch.enable_grad():
            return _ascend(respond, x, Optimum(layer, channel, np.empty(0), 0.0, 0.0), l2, total_variation)
    finally:
        handle.remove()
        network.train(was_training)


def _ascend(
    respond: Callable[[], Tensor], x: Tensor, wanted: Optimum, l2: float, total_variation: float
) -> Optimum:
    """Climb from x, in place."""
    step = _step_that_sees_most(respond, x, wanted)
    (slope,) = torch.autograd.grad(_at(respond(), step), x)
    scale, start = slope.norm(), float(_at(respond(), step).detach())
    optimizer = torch.optim.Adam([x], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, N_STEPS)
    for _ in range(N_STEPS):
        gain = _at(respond(), step) / scale
        penalty = l2 / 2 * x.square().sum() + total_variation * _variation(x)
        (x.grad,) = torch.autograd.grad(penalty - gain, x)
        optimizer.step()
        schedule.step()
    response = float(_at(respond(), step).detach())
    return Optimum(wanted.layer, wanted.channel, x.detach()[0].numpy().copy(), start, response)


def _step_that_sees_most(respond: Callable[[], Tensor], x: Tensor, wanted: Optimum) -> int:
    """The newest step of a channel's map, or the central one if that depends on more input frames."""
    n_steps, seen = len(respond()), {}
    for step in dict.fromkeys((n_steps - 1, n_steps // 2)):
        value = _at(respond(), step)
        slope = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
        seen[step] = 0 if slope is None else int(slope.abs().amax(dim=(0, 1, 3, 4)).count_nonzero())
    best = max(seen, key=lambda step: seen[step])
    if not seen[best]:
        raise ConfigError(
            f"Nothing in the input changes channel {wanted.channel} of '{wanted.layer}'. Choose another "
            "channel or an earlier layer."
        )
    return best


def _at(maps: Tensor, step: int) -> Tensor:
    """The response at the central cell of a step."""
    return maps[step, maps.shape[1] // 2, maps.shape[2] // 2]


def _channel(kept: list[Tensor], layer: str, channel: int) -> Tensor:
    """The maps of a channel at all steps, (time, lat, lon), of the last time that its layer ran."""
    y = kept[-1] if kept else None
    if not isinstance(y, Tensor) or y.ndim not in (4, 5):
        raise ConfigError(f"The output of '{layer}' is not a field, so no cell of it can be maximized.")
    if not 0 <= channel < y.shape[1]:
        raise ConfigError(
            f"'{layer}' has the channels 0 to {y.shape[1] - 1}; found {channel}. Choose one of these."
        )
    return y[-1, channel] if y.ndim == 5 else y[:, channel]  # frames may lie along the batch


def _module(network: Network, layer: str) -> nn.Module:
    modules = dict(network.named_modules())
    found = modules.get(f"{layer}.conv", modules.get(layer)) if layer else None
    if found is None:
        convolutions = [
            name.removesuffix(".conv") for name, m in modules.items() if hasattr(m, "kernel_size")
        ]
        some = ", ".join(evenly_spaced(convolutions, MOST_NAMES)) or "none"
        raise ConfigError(
            f"{type(network).__name__} has no layer '{layer}'. Convolutions there are: {some}. "
            "`stconv explain` lists all layers."
        )
    return found


def _variation(x: Tensor) -> Tensor:
    """Total variation along time, lat and lon."""
    return sum(
        ((x.diff(dim=dim).square() + SMOOTHED).sqrt().sum() for dim in (2, 3, 4)), start=torch.zeros(())
    )
