"""Layers one after the other, and the paper's rule for their channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from stconv.nn.conv import ConvolutionMaker, Sizes


def widening(n_filters: int, n_layers: int) -> list[int]:
    """Return the channels after each layer: d * 2^(i+1) for layer i = 0, 1, ..., but d after the last.

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
    """Return blocks from c_in through each of `channels`, all with the same kernel and settings.

    Args:
        maker: What makes one block, or one maker for each block.
        c_in: Channels of the input.
        channels: Channels after each block; none gives an empty stack, which changes nothing.
        kernel: Size along (time, lat, lon).
        **settings: Keywords of the `ConvolutionMaker`.
    """
    makers = [maker] * len(channels) if callable(maker) else maker
    sizes = zip(makers, pairwise([c_in, *channels]), strict=True)
    return nn.Sequential(*(make(before, after, kernel, **settings) for make, (before, after) in sizes))
