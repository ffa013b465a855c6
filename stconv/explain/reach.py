"""The receptive field of a network, from gradients of a copy with positive weights.

If a path leads from an input to an output, the gradient is a sum of products of positive numbers, which
cannot cancel; otherwise it is zero. The result therefore depends on the structure and not on the weights,
such as a head that starts at zero. In the copy, activations are removed and maxima become averages. It
computes in float64, in which products of many small numbers do not underflow.

The functions here leave inference mode, in which forecasts run: it records no gradients, so that every field
would be empty.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from stconv.errors import ConfigError, ShapeError
from stconv.models.registry import Network
from stconv.nn.probing import Periodic, Probed

SIDES = (24, 32, 64, 128)
"""Cells along lat and lon of the first grid to try: the smallest on which the network runs, since one that
halves its grid may need a multiple of 16 or 32."""
DOUBLINGS = 3
"""How often the first grid is doubled, at most; a larger field counts as the whole grid."""

MOST_PHASES = 64
"""Largest period, in cells, of a network whose receptive field repeats over the grid."""

SEEING_ALL = nn.GroupNorm | nn.MultiheadAttention
"""Layers whose output at a cell depends on every cell."""


@dataclass(frozen=True)
class Reach:
    """Largest receptive field of any value of an output.

    Attributes:
        steps: Number of input frames in the field.
        before: Cells of the field towards the start of lat and lon.
        after: Cells of the field towards the end of lat and lon.
        whole_grid: Whether it covers every cell of a grid of any size; then the numbers have no meaning.
        period: Number of cells after which the field repeats, such as 2 where the grid is halved; 0 if it
            does not.
    """

    steps: int
    before: tuple[int, int]
    after: tuple[int, int]
    whole_grid: bool = False
    period: int = 1

    @property
    def cells(self) -> tuple[int, int]:
        """Size of the receptive field along (lat, lon), in cells, the cell itself included."""
        lat, lon = (b + a + 1 for b, a in zip(self.before, self.after, strict=True))
        return lat, lon


@torch.inference_mode(False)
def positive(network: Network) -> Network:
    """Return a copy whose gradients cannot cancel, in float64 unless the network requires float32."""
    ghost = copy.deepcopy(network).to("cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for module in list(ghost.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LeakyReLU | nn.ReLU | nn.GELU | nn.SiLU | nn.Tanh | nn.Sigmoid):
                setattr(module, name, nn.Identity())
        if isinstance(module, Probed):
            module.open_paths()
    with torch.no_grad():
        for module in ghost.modules():
            fan_in = module.weight[0].numel() if isinstance(module, _ConvNd | nn.Linear) else 1
            for parameter in module.parameters(recurse=False):
                parameter.uniform_(0.5, 1.5, generator=generator).div_(fan_in if parameter.ndim > 1 else 1)
            if isinstance(module, _BatchNorm):
                module.reset_running_stats()
    return in_double(ghost.requires_grad_(False))


@torch.inference_mode(False)
@torch.no_grad()
def in_double(network: Network) -> Network:
    """Return a copy in float64, or the network itself if it creates float32 tensors internally."""
    double = copy.deepcopy(network).double()
    for module in double.modules():
        if isinstance(module, Network) and not list(module.parameters()):
            # without a parameter, the network would expect float32 inputs
            module.register_parameter("_of_its_type", nn.Parameter(torch.zeros(1).double(), False))
    sides = [double.own_grid] if double.own_grid else [(side, side) for side in SIDES]
    return double if any(_failure(double, *side) is None for side in sides) else network


def _failure(network: Network, n_lat: int, n_lon: int) -> Exception | None:
    """Return the error of a network on a grid of this size, or None if it runs."""
    try:
        network(_window(network, 1, n_lat, n_lon))
    except (RuntimeError, TypeError, ValueError, ShapeError) as error:
        return error
    return None


def _side_for(network: Network, sides: Sequence[int] = SIDES) -> int:
    """Return the first of some numbers of cells along lat and lon with which a network runs.

    Raises:
        ConfigError: There is none.
    """
    for side in sides:
        failure = _failure(network, side, side)
        if failure is None:
            return side
    raise ConfigError(
        f"{type(network).__name__} runs on no grid of {', '.join(map(str, sides))} cells along lat and lon: "
        f"{failure}. If it is built for one grid, set its attribute `grid` to (lat, lon)."
    )


def reach(network: Network) -> Reach:
    """Find the receptive field of a network's output: the largest of any lead and of any cell."""
    return reaches(network, [])[""]


@torch.inference_mode(False)
def reaches(network: Network, names: list[str]) -> dict[str, Reach]:
    """Find the receptive field after each of the named modules, and after the network itself (name "").

    For a layer that is called several times, the last call counts. On a coarser grid it is the field of the
    coarse cell at the middle of the grid. Layers whose output has no grid, such as those over a sequence of
    cells, are omitted.

    Args:
        network: Network; it is not changed.
        names: Paths of modules.
    """
    ghost, period = positive(network), phases(network)
    side = _side_for(ghost)
    last = side * 2**DOUBLINGS
    while side // 2 <= _widest_step(ghost) * period and side < last:
        side *= 2  # otherwise a dilated kernel would reach past the grid without touching its edge
    everywhere = Reach(network.t_in, (0, 0), (0, 0), whole_grid=True)
    found = dict.fromkeys(["", *names], everywhere)
    wanted = _layers_before_all(ghost, names) if _sees_all(ghost) else ["", *names]
    layers = [name for name in wanted if name]
    for batch in (layers, wanted[:1] if "" in wanted else []):
        n = side if batch == layers else _first_grid(side, period)
        while batch and n <= last:
            seen = _boxes(ghost, batch, n, 1 if batch[0] else period)
            for name in batch:
                if name not in seen:
                    del found[name]
            found |= seen
            batch = [name for name in seen if seen[name].whole_grid]
            if batch == [] and "" in seen and seen[""].steps:
                again = _repeats_after(ghost, n, period, side)
                found[""] = replace(seen[""], period=again)
                if again > period:  # a halving that no layer declares: look at every phase
                    period, batch, n = again, [""], _first_grid(side, again)
                    continue
            n *= 2
    return found


def _widest_step(network: nn.Module) -> int:
    """Return the largest distance, in cells, from the middle of a kernel to its outermost tap."""
    steps = [
        dilation * (kernel // 2)
        for module in network.modules()
        if isinstance(module, _ConvNd)
        for kernel, dilation in zip(module.kernel_size[-2:], module.dilation[-2:], strict=True)
    ]
    return max(steps, default=0)


def _first_grid(side: int, period: int) -> int:
    """Return the size of the first grid to try: a multiple of the period, with all phases past the middle."""
    return 2 * period * -(-side // (2 * period))


def _repeats_after(ghost: Network, n: int, period: int, side: int) -> int:
    """Return the smallest multiple of the period after which gradients on a uniform field repeat; or 0."""
    for times in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
        if period * times > MOST_PHASES:
            break
        wide = max(n, side * -(-4 * period * times // side))
        if _repeats(ghost, wide, period * times) or _repeats(ghost, 2 * wide, period * times):
            return period * times
    return 0


def _repeats(ghost: Network, n: int, period: int) -> bool:
    """Whether the gradients of two cells that are one period apart are equal up to the shift."""
    x = torch.full_like(_window(ghost, 1, n), 0.15).requires_grad_()
    y = ghost(x)
    values = torch.linspace(0.5, 1.5, y[..., 0, 0].numel(), dtype=y.dtype).view_as(y[..., 0, 0])

    def gradients() -> Iterator[Tensor]:
        for start in ((n - period) // 2 - 1, (n - period) // 2):
            for cell in (start, start + period):
                total = (y[..., cell, cell] * values).sum()
                yield torch.autograd.grad(total, x, retain_graph=True)[0]

    first, shifted, second, further = gradients()
    return all(
        torch.allclose(
            a[..., :-period, :-period], b[..., period:, period:], rtol=1e-5, atol=1e-6 * float(a.abs().max())
        )
        for a, b in ((first, shifted), (second, further))
    )


def phases(network: nn.Module) -> int:
    """Return the period, in cells, of a network that halves its grid; 1 for other networks."""
    return max((m.grid_period for m in network.modules() if isinstance(m, Periodic)), default=1)


@torch.inference_mode(False)
def frames_in_reach(network: Network, n_cells: int = 9) -> Tensor:
    """Return whether there is a path from each input frame to each lead, bool, (leads, t_in)."""
    ghost = positive(network)
    n_lat, n_lon = ghost.own_grid or (_side_for(ghost, (n_cells, *SIDES)),) * 2
    x = _window(ghost, 1, n_lat, n_lon)
    y = ghost(x)
    seen = torch.zeros(network.leads, network.t_in, dtype=torch.bool)
    for lead in range(network.leads) if y.requires_grad else ():
        values = y[:, :, lead]
        weights = torch.linspace(0.5, 1.5, values.numel(), dtype=y.dtype).view_as(values)
        (gradient,) = torch.autograd.grad((weights * values).sum(), x, retain_graph=True)
        seen[lead] = gradient.abs().amax(dim=(0, 1, 3, 4)) > 0
    return seen


def _boxes(ghost: Network, names: list[str], n: int, n_phases: int) -> dict[str, Reach]:
    outputs: dict[str, Tensor] = {}
    handles = [
        ghost.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: outputs.__setitem__(name, _first(output))
        )
        for name in names
        if name
    ]
    x = _window(ghost, n_phases, n)
    try:
        outputs[""] = ghost(x)
    finally:
        for handle in handles:
            handle.remove()
    on_grid = [name for name in names if name in outputs and outputs[name].ndim > 3]
    return {name: _box(_units(name, outputs[name]), x, n, n_phases) for name in on_grid}


def _first(output: Any) -> Tensor:
    """Return the output tensor of a module, or the first of several, as for attention."""
    return output if isinstance(output, Tensor) else output[0]


def _units(name: str, output: Tensor) -> Tensor:
    """Return all leads of the forecast, or the middle step of a layer's output."""
    return output if not name or output.ndim == 4 else output[:, :, output.shape[2] // 2].unsqueeze(2)


def _box(output: Tensor, x: Tensor, n: int, n_phases: int) -> Reach:
    """Return the joint field of cell n/2 + b in each window b, which covers all phases of coarse grids."""
    if not output.requires_grad:
        return Reach(0, (0, 0), (0, 0))
    coarse = max(1, round(n / output.shape[-1]))
    total = output.new_zeros(())
    for b in range(n_phases):
        cell = (n // 2 + b) // coarse
        values = output[b, ..., cell, cell]
        weights = torch.linspace(0.5, 1.5, values.numel(), dtype=values.dtype).view_as(values)
        total = total + (values * weights).sum()
    (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
    hit = gradient.abs().amax(dim=1) > 0
    before, after, touches = [0, 0], [0, 0], False
    for b in range(n_phases):
        for axis in range(2):
            other = (0, 2 - axis)
            cells = hit[b].any(dim=other[1]).any(dim=other[0]).nonzero().flatten()
            if len(cells) == 0:
                continue
            first, last = int(cells[0]), int(cells[-1])
            before[axis] = max(before[axis], n // 2 + b - first)
            after[axis] = max(after[axis], last - n // 2 - b)
            touches |= first == 0 or last == n - 1
    steps = int(hit.any(dim=(0, 2, 3)).sum()) if hit.any() else 0
    return Reach(steps, (before[0], before[1]), (after[0], after[1]), whole_grid=touches)


def _window(ghost: Network, batch: int, n: int, n_lon: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(batch, ghost.c_in, ghost.t_in, n, n_lon or n, generator=generator)
    dtype = next((p.dtype for p in ghost.parameters() if p.is_floating_point()), x.dtype)
    return (0.1 + 0.1 * x).to(dtype).requires_grad_()


def _sees_all(ghost: nn.Module) -> bool:
    return any(isinstance(module, SEEING_ALL) for module in ghost.modules())


def _layers_before_all(ghost: nn.Module, names: list[str]) -> list[str]:
    """Return the named modules before the first layer that sees the whole grid."""
    order = [
        name for name, module in ghost.named_modules() if name in names or isinstance(module, SEEING_ALL)
    ]
    first = next(i for i, name in enumerate(order) if isinstance(ghost.get_submodule(name), SEEING_ALL))
    return [name for name in order[:first] if name in names]
