"""Mixed convolutions: some layers of a stack convolve in 3D, the others in space alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from stconv.errors import ConfigError
from stconv.nn.conv import Convolution, ConvolutionMaker, Sizes
from stconv.nn.settings import check_count, check_triple


def spatial(
    c_in: int, c_out: int, kernel: Sizes, *, maker: ConvolutionMaker = Convolution, **settings: Any
) -> nn.Module:
    """Return a convolution (1, h, w), whatever the kernel's size along time; a `ConvolutionMaker`."""
    _, h, w = check_triple("kernel", kernel, "spatial")
    return maker(c_in, c_out, (1, h, w), **settings)


def mixed(
    n_layers: int, n_3d: int, *, time_last: bool = False, maker: ConvolutionMaker = Convolution
) -> list[ConvolutionMaker]:
    """Return a maker for each layer: `n_3d` convolve in 3D, the others in space alone.

    In MC the layers near the input see time; in rMC (`time_last`) those near the output do.

    Raises:
        ConfigError: `n_3d` is larger than the number of layers.

    Source:
        Tran et al. (2018), arXiv 1711.11248, section 3.4.
    """
    check_count("n_layers", n_layers, "mixed")
    if check_count("n_3d", n_3d, "mixed", at_least=0) > n_layers:
        raise ConfigError(f"n_3d of mixed is {n_3d} of {n_layers} layers; expected at most that many.")
    makers: list[ConvolutionMaker] = [maker] * n_3d + [partial(spatial, maker=maker)] * (n_layers - n_3d)
    return makers[::-1] if time_last else makers
