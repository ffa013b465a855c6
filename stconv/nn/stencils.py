"""Finite differences as initial filters of a network's first layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from stconv.errors import ConfigError
from stconv.nn.settings import check_choice

Stencil = Literal[
    "identity", "gradient_lat", "gradient_lon", "laplacian", "sobel_lat", "sobel_lon", "tendency"
]
Filter = Literal[
    "identity", "gradient", "gradient_lat", "gradient_lon", "laplacian", "sobel", "sobel_lat", "sobel_lon",
    "tendency",
]  # fmt: skip
"""Name of a stencil, or of both directions of a difference."""
Filters = Filter | list[Filter] | None

_CENTER = ((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))
_GRADIENT = ((0.0, -0.5, 0.0), (0.0, 0.0, 0.0), (0.0, 0.5, 0.0))
_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
_SOBEL = ((-1.0, -2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 1.0))


def stencil(name: Stencil) -> Tensor:
    """Return a stencil, float32, (time, lat, lon): (1, 3, 3), or (2, 1, 1) for the tendency.

    Indices follow the data: lat and lon ascend, and the last step is the newest. Differences are per grid
    cell and per step; `sobel` is 8 times a smoothed gradient.

    Raises:
        ConfigError: The name is unknown.
    """
    check_choice("stencil", name, get_args(Stencil), "the first layer")
    if name == "tendency":
        return torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    planes = {"identity": _CENTER, "gradient": _GRADIENT, "laplacian": _LAPLACIAN, "sobel": _SOBEL}
    plane = torch.tensor(planes[name.partition("_")[0]])
    return (plane.T if name.endswith("_lon") else plane)[None].contiguous()


def first_filters(block: nn.Module, filters: Filters, where: str, *, backwards: bool = False) -> None:
    """Initialize the first convolution of a block that reads the inputs with stencils (see `Filters`).

    Args:
        block: Block whose first 3D convolution is also the first to run.
        filters: Names of stencils, or None to leave the filters as they are.
        where: Name of the network, for messages.
        backwards: Whether the block reads the frames from the newest to the oldest.

    Raises:
        ConfigError: A name is unknown, or the kernel is smaller than a stencil.
    """
    if filters is None:
        return
    names: list[Stencil] = []
    for name in [filters] if isinstance(filters, str) else filters:
        check_choice("filters", name, get_args(Filter), where)
        both: list[Stencil] = [found for found in get_args(Stencil) if found.startswith(f"{name}_")]
        names += both or [cast(Stencil, name)]
    if not names:
        raise ConfigError(f"filters of {where} is an empty list. Name stencils, or leave it out.")
    conv = next(module for module in block.modules() if isinstance(module, nn.Conv3d))
    start_from_stencils(conv, names, backwards=backwards)


@torch.no_grad()
def start_from_stencils(
    conv: nn.Conv3d, names: Sequence[Stencil], scale: float = 1.0, *, backwards: bool = False
) -> None:
    """Set the first filters of a convolution to stencils, each on one input channel; the others stay random.

    With n stencils, filter i takes stencil i % n on input channel i // n, until the channels are used up. In
    a larger kernel the stencil is centered in space and placed at the newest taps. In a depthwise convolution
    every filter takes a stencil.

    Args:
        conv: The convolution; its weights are changed in place.
        names: Names of the stencils.
        scale: Factor on the stencils.
        backwards: Whether the last tap sees the oldest frame.

    Raises:
        ConfigError: A name is unknown, or the kernel is smaller than a stencil.
    """
    c_out, c_in, *kernel = conv.weight.shape
    alone = conv.groups > 1
    for i in range(c_out if alone else min(c_out, len(names) * c_in)):
        name, channel = names[i % len(names)], 0 if alone else i // len(names)
        values = stencil(name)
        n_time, n_lat, n_lon = values.shape
        t, lat, lon = (k - n for k, n in zip(kernel, values.shape, strict=True))
        if min(t, lat, lon) < 0 or lat % 2 or lon % 2:
            raise ConfigError(
                f"the stencil '{name}' is {tuple(values.shape)} and does not fit into the kernel "
                f"{tuple(kernel)} of the first convolution; expected one at least as large, and odd along "
                "lat and lon. Choose another stencil, or another `convolution` or `kernel`."
            )
        row, column = lat // 2, lon // 2
        conv.weight[i] = 0.0
        taps = slice(0, n_time) if backwards else slice(t, None)
        conv.weight[i, channel, taps, row : row + n_lat, column : column + n_lon] = scale * (
            values.flip(0) if backwards else values
        )
