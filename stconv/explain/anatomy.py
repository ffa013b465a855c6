"""The layers of a network: their sizes by the formula, their parameters, their multiply-adds.

Nothing is computed: shapes are followed on torch's meta device, so that any network answers at once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from stconv.nn.damping import Damping
from stconv.nn.pool import Pool

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        name: Path of the module in the network.
        kind: convolution, transposed, pooling, linear, normalization, damping, ...
        kernel: Along (time, lat, lon), where the layer has one.
        stride: Likewise.
        channels: Of the output.
        size: Of the output along (time, lat, lon), by the size formula.
        parameters: Learned numbers.
        multiply_adds: For one window; the product sums of convolutions and linear layers, nothing else.
        calls: How often it runs in one forecast; more than once in recurrent networks.
    """

    name: str
    kind: str
    kernel: Sizes | None
    stride: Sizes | None
    channels: int
    size: Sizes
    parameters: int
    multiply_adds: int
    calls: int


def formula_size(module: nn.Module, size: Sizes) -> Sizes:
    """Return the output size along (time, lat, lon) by the formula of the lectures.

    floor((W - F + P) / S) + 1, where F is the dilated kernel and P the padding of both sides together; of a
    transposed convolution (W - 1) S + F - P. Anything without a kernel keeps the size.
    """
    if isinstance(module, Pool):
        fields = zip(size, module.kernel, module.stride, strict=True)
        return _triple((w - f) // s + 1 for w, f, s in fields)
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        settings: Any = (size, module.kernel_size, module.dilation, module.padding, module.stride)
        steps, *grid = size
        settings = ((steps + sum(getattr(module, "around", ())), *grid), *settings[1:])
        spans = [
            (w, d * (k - 1) + 1, 2 * p, s) for w, k, d, p, s in zip(*map(_triple, settings), strict=True)
        ]
        if isinstance(module, nn.ConvTranspose3d):
            return _triple((w - 1) * s + f - p for w, f, p, s in spans)
        return _triple((w - f + p) // s + 1 for w, f, p, s in spans)
    return size


def anatomy(network: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """List the layers in the order in which they first run.

    Args:
        network: Any module over (batch, channel, time, lat, lon); it is left as it is.
        shape: Of one window: (channel, time, lat, lon).
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    inputs: dict[str, list[tuple[Sizes, int]]] = {}
    handles = []
    for name, module in ghost.named_modules():
        if _is_layer(module):

            def remember(module: nn.Module, args: Any, output: Tensor, name: str = name) -> None:
                inputs.setdefault(name, []).append((_size(args[0]), output.shape[1]))

            handles.append(module.register_forward_hook(remember))
    try:
        with torch.no_grad():
            ghost(torch.zeros(1, *shape, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return [_layer(name, ghost.get_submodule(name), calls) for name, calls in inputs.items()]


def _is_layer(module: nn.Module) -> bool:
    own = any(True for _ in module.parameters(recurse=False))
    return own or isinstance(module, Pool | nn.Upsample)


def _layer(name: str, module: nn.Module, calls: list[tuple[Sizes, int]]) -> Layer:
    size, channels = calls[-1]
    out = _upsampled(module, size) if isinstance(module, nn.Upsample) else formula_size(module, size)
    kernel, stride = _window(module)
    return Layer(
        name=name.removesuffix(".conv"),
        kind=_kind(module),
        kernel=kernel,
        stride=stride,
        channels=channels,
        size=out,
        parameters=sum(p.numel() for p in module.parameters(recurse=False)),
        multiply_adds=sum(_multiply_adds(module, before) for before, _ in calls),
        calls=len(calls),
    )


def _multiply_adds(module: nn.Module, size: Sizes) -> int:
    if isinstance(module, nn.ConvTranspose3d):
        return module.weight.numel() * prod(size)
    if isinstance(module, nn.Conv3d):
        return module.weight.numel() * prod(formula_size(module, size))
    return 0


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv3d):
        return "depthwise" if module.groups == module.in_channels > 1 else "convolution"
    known: dict[type[nn.Module], str] = {
        nn.ConvTranspose3d: "transposed",
        nn.BatchNorm3d: "batch norm",
        nn.GroupNorm: "group norm",
        nn.LayerNorm: "layer norm",
        nn.Upsample: "upsampling",
        Damping: "damping",
    }
    if isinstance(module, Pool):
        return f"{module.kind} pooling"
    return next((kind for cls, kind in known.items() if isinstance(module, cls)), type(module).__name__)


def _window(module: nn.Module) -> tuple[Sizes | None, Sizes | None]:
    if isinstance(module, Pool):
        return module.kernel, module.stride
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        return _triple(module.kernel_size), _triple(module.stride)
    return None, None


def _upsampled(module: nn.Upsample, size: Sizes) -> Sizes:
    factor = module.scale_factor
    factors = factor if isinstance(factor, tuple) else (factor,) * 3
    return _triple(int(w * float(f or 1)) for w, f in zip(size, factors, strict=True))


def _size(x: Tensor) -> Sizes:
    return _triple(x.shape[2:]) if x.ndim == 5 else (1, 1, 1)


def _triple(values: Iterable[Any]) -> Sizes:
    time, lat, lon = (int(value) for value in values)
    return time, lat, lon
