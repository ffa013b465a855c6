"""Stacks of layers, and the rule of the STConvS2S paper for their channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from stconv.nn.conv import ConvolutionMaker, Sizes


def widening(n_filters: int, n_layers: int) -> list[int]:
    """Return the channels after each layer: d * 2^(i+1) for layer i = 0, 1, ..., and d after the last.

    Source:
        Castro et al. (2021), Neurocomputing 426; 3 layers of 32 filters give 64, 128, 32.
    """
    return [n_filters * 2 ** (i + 1) for i in range(n_layers - 1)] + [n_filters]


def stack(
    maker: ConvolutionMaker | Sequence[ConvolutionMaker],
    c_in: int,
    channels: Sequence[int],
    kernel: Sizes,
    **settings: Any,
) -> nn.Sequential:
    """Return a stack of blocks that share kernel and settings.

    Args:
        maker: Maker of every block, or a list with one for each block.
        c_in: Number of channels of the input.
        channels: Number of channels after each block; an empty list gives an empty stack, an identity.
        kernel: Size along (time, lat, lon).
        **settings: Further keywords of the `ConvolutionMaker`.
    """
    makers = [maker] * len(channels) if callable(maker) else maker
    sizes = zip(makers, pairwise([c_in, *channels]), strict=True)
    return nn.Sequential(*(make(before, after, kernel, **settings) for make, (before, after) in sizes))
