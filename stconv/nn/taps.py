"""Convolutions with few outputs: first what each tap adds, as one matrix product, then the sum of the taps.

A head from 32 channels to one gives a direct convolution nothing to share between outputs. Here the taps of
the kernel are the outputs of a product over (time, channel), and what they add is shifted and summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stconv.nn.cells import steps_seen

Sizes = tuple[int, int]


class TapProduct(torch.autograd.Function):
    """Convolution (t, k, m), padded with zeros.

    Args:
        x: (lat, lon, batch, steps, c_in), contiguous.
        weight: (c_out, c_in, t, k, m).
        bias: (c_out,), or None.
        zeros: Steps of zeros before and after the frames.
        padding: Zeros (p, q) on either side along lat and lon.

    Returns:
        (steps + before + after - t + 1, c_out, lat + 2 p - k + 1, lon + 2 q - m + 1, batch).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, zeros: Sizes, padding: Sizes
    ) -> Tensor:
        """Compute what each tap adds, and sum."""
        ctx.save_for_backward(x, weight)
        ctx.zeros, ctx.padding = zeros, padding
        taps, frames = _taps(weight), _frames(x, weight, zeros)
        added = x.new_empty(len(frames), *_shape_added(x, weight))
        for step, (seen, by) in enumerate(frames):
            torch.mm(taps[:, by], seen.T, out=added[step].view(len(taps), -1))
        grid = (n + 2 * p - k + 1 for n, k, p in zip(x.shape[:2], weight.shape[3:], padding, strict=True))
        y = x.new_zeros(len(frames), len(weight), *grid, x.shape[2])
        if bias is not None:
            y += bias.view(-1, 1, 1, 1)
        for i, j, target, source in _overlaps(x, weight, padding):
            y[:, :, *target].add_(added[:, :, i, j, *source])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Spread the gradient of each sum over its taps."""
        x, weight = ctx.saved_tensors
        c_out, c_in, t, k, m = weight.shape
        taps, frames = _taps(weight), _frames(x, weight, ctx.zeros)
        added = x.new_zeros(len(frames), *_shape_added(x, weight))
        for i, j, target, source in _overlaps(x, weight, ctx.padding):
            added[:, :, i, j, *source] = dy[:, :, *target]
        dx, dtaps = torch.zeros_like(x), torch.zeros_like(taps)
        for change, (seen, by), (dseen, _) in zip(
            added.flatten(4).flatten(1, 3), frames, _frames(dx, weight, ctx.zeros), strict=True
        ):
            if ctx.needs_input_grad[0]:
                dseen.addmm_(change.T, taps[:, by])
            if ctx.needs_input_grad[1]:
                dtaps[:, by].addmm_(change, seen)
        dbias = dy.sum((0, 2, 3, 4)) if ctx.needs_input_grad[2] else None
        return dx, dtaps.view(c_out, k, m, t, c_in).permute(0, 4, 3, 1, 2), dbias, None, None


def tap_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, zeros: Sizes, padding: Sizes) -> Tensor:
    """Convolve (lat, lon, batch, time, c_in), padded with zeros.

    Args:
        x: Contiguous.
        weight: (c_out, c_in, t, k, m).
        bias: (c_out,), or None.
        zeros: Steps of zeros before and after the frames.
        padding: Zeros on either side along lat and lon.

    Returns:
        (batch, c_out, time + before + after - t + 1, lat', lon').
    """
    y: Tensor = TapProduct.apply(x, weight, bias, zeros, padding)
    return y.permute(4, 1, 0, 2, 3)


def _frames(x: Tensor, weight: Tensor, zeros: Sizes) -> list[tuple[Tensor, slice]]:
    """View what each output step sees, as (cells, steps c_in), and say which columns of the taps see it."""
    c_in, t = weight.shape[1:3]
    flat = x.view(-1, x.shape[3] * c_in)
    return [
        (flat[:, frames.start * c_in : frames.stop * c_in], slice(by.start * c_in, by.stop * c_in))
        for frames, by in steps_seen(x.shape[3], t, zeros)
    ]


def _shape_added(x: Tensor, weight: Tensor) -> tuple[int, ...]:
    """What each tap adds to one step: (c_out, k, m, lat, lon, batch)."""
    c_out, _, _, k, m = weight.shape
    return c_out, k, m, *x.shape[:3]


def _taps(weight: Tensor) -> Tensor:
    """Reorder (c_out, c_in, t, k, m) to (c_out k m, t c_in)."""
    return weight.permute(0, 3, 4, 2, 1).reshape(-1, weight.shape[2] * weight.shape[1])


Area = tuple[slice, slice]


def _overlaps(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Iterator[tuple[int, int, Area, Area]]:
    """For each tap (i, j): the cells of the output that it adds to, and those of the input it sees there."""
    for i in range(weight.shape[3]):
        for j in range(weight.shape[4]):
            target, source = [], []
            for n, k, p, tap in zip(x.shape[:2], weight.shape[3:], padding, (i, j), strict=True):
                first, last = max(0, p - tap), min(n + 2 * p - k, n - 1 + p - tap)
                target.append(slice(first, last + 1))
                source.append(slice(first + tap - p, last + 1 + tap - p))
            yield i, j, (target[0], target[1]), (source[0], source[1])
