"""The layers of a network, with sizes, parameters and multiply-adds.

Only shapes are computed, on torch's meta device, so that a network of any size takes no time. A network that
makes tensors on the CPU is followed with fake tensors. One that decides by values (`if x.max() > 0`) runs on
zeros.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.utils.flop_counter import FlopCounterMode

from stconv.nn.pool import Pool

Sizes = tuple[int, int, int]
_ANY_CONVOLUTION = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        name: Path of the module in the network; "" for operations of the network itself.
        kind: Kind of layer: convolution, transposed, pooling, linear, normalization, damping, ...
        kernel: Kernel along (time, lat, lon), if the layer has one.
        stride: Stride along (time, lat, lon), if the layer has one.
        channels: Number of output channels.
        size: Output size along (time, lat, lon), by the size formula where one applies.
        parameters: Number of learned values, including those of submodules that are never called.
        multiply_adds: Multiply-adds for one window, of convolutions, matrix products and attention only.
        calls: Number of calls in one forecast; more than one in recurrent networks.
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
    """Return the output size along (time, lat, lon) by the size formula.

    It is floor((W - F + P) / S) + 1, where F is the dilated kernel and P the padding of both sides together,
    and (W - 1) S + F - P for a transposed convolution. A layer without a kernel keeps the size.
    """
    if isinstance(module, Pool):
        fields = zip(size, module.kernel, module.padding, module.stride, strict=True)
        return _triple((w - f + 2 * p) // s + 1 for w, f, p, s in fields)
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
    """List the layers in the order of their first call.

    A layer is a module with parameters, multiply-adds or pooling of its own. Operations outside of layers, as
    in a `forward` or in attention, count for the module that performs them.

    Args:
        network: Any module over (batch, channel, time, lat, lon); it is not changed.
        shape: Shape of one window, (channel, time, lat, lon).
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    try:
        runs = _followed(ghost, torch.zeros(1, *shape, device="meta"))
    except RuntimeError:
        runs = _followed_on_cpu(copy.deepcopy(network).eval(), torch.zeros(1, *shape))
    counted: set[int] = set()
    layers = []
    for name, calls in runs.items():
        module = ghost.get_submodule(name)
        layer = _layer(name, module, calls, _learned(module, name, runs, counted))
        if layer.parameters or layer.multiply_adds or _changes_grid(module):
            layers.append(layer)
    return layers


@dataclass(frozen=True)
class _Run:
    """One call of a module: input and output sizes, output channels, and its own multiply-adds."""

    before: Sizes
    after: Sizes
    channels: int
    multiply_adds: int


def _followed_on_cpu(ghost: nn.Module, x: Tensor) -> dict[str, list[_Run]]:
    """Follow a network that does not run on the meta device."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            return _followed(ghost, mode.from_tensor(x))
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException):
        return _followed(ghost, x)


def _followed(ghost: nn.Module, x: Tensor) -> dict[str, list[_Run]]:
    """Run a network, and return the calls of each module by its name."""
    runs: dict[str, list[_Run]] = {}
    begun: list[list[int]] = []  # multiply-adds before each running module, and of its submodules
    counter = FlopCounterMode(display=False)

    def start(_module: nn.Module, _args: Any) -> None:
        begun.append([counter.get_total_flops(), 0])

    def end(_module: nn.Module, args: Any, output: Any, name: str) -> None:
        first, inside = begun.pop()
        whole = counter.get_total_flops() - first
        if begun:
            begun[-1][1] += whole
        y = _first_tensor(output)
        before = _first_tensor(args)
        if y is not None and before is not None:
            (after, channels), (size, _) = _size(y), _size(before)
            runs.setdefault(name, []).append(_Run(size, after, channels, (whole - inside) // 2))

    handles = []
    for name, module in ghost.named_modules():
        handles.append(module.register_forward_pre_hook(start))
        handles.append(module.register_forward_hook(functools.partial(end, name=name)))
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # torch does not count the products of fused attention
    try:
        with torch.no_grad(), counter:
            ghost(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()
    return runs


def _learned(module: nn.Module, name: str, runs: dict[str, list[_Run]], counted: set[int]) -> int:
    """Count the parameters of a module and of its submodules that are never called, each once."""
    total = 0
    for inner, part in module.named_modules(prefix=name):
        owner = inner
        while owner != name and owner not in runs:
            owner = owner.rpartition(".")[0]
        if owner == name:
            fresh = {id(p): p.numel() for p in part.parameters(recurse=False) if id(p) not in counted}
            counted.update(fresh)
            total += sum(fresh.values())
    return total


def _changes_grid(module: nn.Module) -> bool:
    return isinstance(module, Pool | nn.Upsample) or "pool" in type(module).__name__.lower()


def _layer(name: str, module: nn.Module, calls: list[_Run], parameters: int) -> Layer:
    last = calls[-1]
    kernel, stride = _window(module)
    return Layer(
        name=name.removesuffix(".conv"),
        kind=_kind(module),
        kernel=kernel,
        stride=stride,
        channels=last.channels,
        size=formula_size(module, last.before) if _has_formula(module) else last.after,
        parameters=parameters,
        multiply_adds=sum(run.multiply_adds for run in calls),
        calls=len(calls),
    )


def _has_formula(module: nn.Module) -> bool:
    return isinstance(module, Pool | nn.Conv3d | nn.ConvTranspose3d)


def _kind(module: nn.Module) -> str:
    if isinstance(module, _ANY_CONVOLUTION):
        return "depthwise" if module.groups == module.in_channels > 1 else "convolution"
    known: dict[type[nn.Module], str] = {
        nn.ConvTranspose3d: "transposed",
        nn.ConvTranspose2d: "transposed",
        nn.Linear: "linear",
        nn.MultiheadAttention: "attention",
        nn.BatchNorm3d: "batch norm",
        nn.BatchNorm2d: "batch norm",
        nn.GroupNorm: "group norm",
        nn.LayerNorm: "layer norm",
        nn.Upsample: "upsampling",
    }
    if isinstance(module, Pool):
        return f"{module.kind} pooling"
    return next(
        (kind for cls, kind in known.items() if isinstance(module, cls)), type(module).__name__.lower()
    )


def _window(module: nn.Module) -> tuple[Sizes | None, Sizes | None]:
    if isinstance(module, Pool):
        return module.kernel, module.stride
    if isinstance(module, _ANY_CONVOLUTION | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return _last_three(module.kernel_size), _last_three(module.stride)
    return None, None


def _last_three(sizes: Sequence[Any]) -> Sizes:
    """Return sizes along (time, lat, lon); of a tensor with fewer axes, these are the last ones."""
    return _triple((1, 1, 1, *sizes)[-3:])


def _first_tensor(values: Any) -> Tensor | None:
    if isinstance(values, Tensor):
        return values
    return next((value for value in values if isinstance(value, Tensor)), None) if values else None


def _size(x: Tensor) -> tuple[Sizes, int]:
    """Return sizes and channels of a tensor (batch, channel, ...) or (batch, position, channel)."""
    if x.ndim == 3:
        return (1, 1, x.shape[1]), x.shape[2]
    return _last_three(x.shape[2:]), x.shape[min(1, x.ndim - 1)]


def _triple(values: Iterable[Any]) -> Sizes:
    time, lat, lon = (int(value) for value in values)
    return time, lat, lon
