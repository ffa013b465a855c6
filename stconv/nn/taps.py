"""Convolutions with few outputs, as one matrix product for all taps and a sum over the taps.

In a head from 32 channels to one, a direct convolution has no outputs to share its input between. Here the
taps of the kernel are the outputs of a product over (time, channel). Their contributions are shifted and
summed, one band of rows at a time, so that little memory is needed beyond input and result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from stconv.nn.cells import steps_seen
from stconv.nn.fast_paths import takes_fast_paths
from stconv.nn.gradients import convolution_gradients

SCRATCH = 2**20
"""Largest number of contributions in a band of rows, unless a single row has more."""
Sizes = tuple[int, int]


class TapProduct(torch.autograd.Function):
    """Convolution (t, k, m) with zero padding.

    Args:
        x: Input, (lat, lon, batch, steps, c_in), contiguous.
        weight: Weight, (c_out, c_in, t, k, m).
        bias: Bias, (c_out,), or None.
        zeros: Steps of zeros before and after the frames.
        padding: Zeros (p, q) on either side along lat and lon.

    Returns:
        (steps + before + after - t + 1, c_out, lat + 2 p - k + 1, lon + 2 q - m + 1, batch).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, zeros: Sizes, padding: Sizes
    ) -> Tensor:
        """Compute the contribution of each tap, and sum."""
        ctx.save_for_backward(x, weight)
        ctx.zeros, ctx.padding = zeros, padding
        taps, n_steps = _taps(weight), len(steps_seen(x.shape[3], weight.shape[2], zeros))
        grid = (n + 2 * p - k + 1 for n, k, p in zip(x.shape[:2], weight.shape[3:], padding, strict=True))
        y = x.new_zeros(n_steps, len(weight), *grid, x.shape[2])
        if bias is not None:
            y += bias.view(-1, 1, 1, 1)
        for band in _bands(x, weight):
            added = x.new_empty(_shape_added(x[band], weight))
            for step, (seen, by) in enumerate(_frames(x[band], weight, zeros)):
                torch.mm(taps[:, by], seen.T, out=added.view(len(taps), -1))
                for i, j, target, source in _overlaps(x, weight, padding, band):
                    y[step, :, *target].add_(added[:, i, j, *source])
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Distribute the gradient of each sum to its taps."""
        x, weight = ctx.saved_tensors
        c_out, c_in, t, k, m = weight.shape
        if torch.is_grad_enabled() or not takes_fast_paths(dy, x, weight):
            of_x, of_weight, of_bias = convolution_gradients(
                dy.permute(4, 1, 0, 2, 3), x.permute(2, 4, 3, 0, 1), weight, ctx.needs_input_grad[:3],
                zeros=ctx.zeros, padding=(0, *ctx.padding),
            )  # fmt: skip
            return None if of_x is None else of_x.permute(3, 4, 0, 2, 1), of_weight, of_bias, None, None
        taps = _taps(weight)
        dx, dtaps = torch.zeros_like(x), torch.zeros_like(taps)
        for band in _bands(x, weight):
            frames, dframes = _frames(x[band], weight, ctx.zeros), _frames(dx[band], weight, ctx.zeros)
            added = x.new_zeros(_shape_added(x[band], weight))
            for step, ((seen, by), (dseen, _)) in enumerate(zip(frames, dframes, strict=True)):
                for i, j, target, source in _overlaps(x, weight, ctx.padding, band):
                    added[:, i, j, *source] = dy[step, :, *target]
                change = added.view(len(taps), -1)
                if ctx.needs_input_grad[0]:
                    dseen.addmm_(change.T, taps[:, by])
                if ctx.needs_input_grad[1]:
                    dtaps[:, by].addmm_(change, seen)
        dbias = dy.sum((0, 2, 3, 4)) if ctx.needs_input_grad[2] else None
        return dx, dtaps.view(c_out, k, m, t, c_in).permute(0, 4, 3, 1, 2), dbias, None, None


def tap_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, zeros: Sizes, padding: Sizes) -> Tensor:
    """Convolve (lat, lon, batch, time, c_in) with zero padding.

    Args:
        x: Input, contiguous.
        weight: Weight, (c_out, c_in, t, k, m).
        bias: Bias, (c_out,), or None.
        zeros: Steps of zeros before and after the frames.
        padding: Zeros (p, q) on either side along lat and lon.

    Returns:
        (batch, c_out, time + before + after - t + 1, lat', lon').
    """
    y: Tensor = TapProduct.apply(x, weight, bias, zeros, padding)  # type: ignore[no-untyped-call]
    return y.permute(4, 1, 0, 2, 3)


def _frames(x: Tensor, weight: Tensor, zeros: Sizes) -> list[tuple[Tensor, slice]]:
    """View the frames of each output step as (cells, steps c_in), with the columns of their taps."""
    c_in, t = weight.shape[1:3]
    flat = x.view(-1, x.shape[3] * c_in)
    return [
        (flat[:, frames.start * c_in : frames.stop * c_in], slice(by.start * c_in, by.stop * c_in))
        for frames, by in steps_seen(x.shape[3], t, zeros)
    ]


def _shape_added(x: Tensor, weight: Tensor) -> tuple[int, ...]:
    """Return the contribution of each tap to one step, (c_out, k, m, lat, lon, batch)."""
    c_out, _, _, k, m = weight.shape
    return c_out, k, m, *x.shape[:3]


def _taps(weight: Tensor) -> Tensor:
    """Reorder (c_out, c_in, t, k, m) to (c_out k m, t c_in)."""
    return weight.permute(0, 3, 4, 2, 1).reshape(-1, weight.shape[2] * weight.shape[1])


Area = tuple[slice, slice]


def _bands(x: Tensor, weight: Tensor) -> Iterator[slice]:
    """Divide the rows into bands whose contributions to one step fit in the cache."""
    n_rows, in_a_row = x.shape[0], weight.shape[0] * weight.shape[3:].numel() * x.shape[1:3].numel()
    size = max(1, SCRATCH // in_a_row)
    return (slice(start, min(n_rows, start + size)) for start in range(0, n_rows, size))


def _overlaps(
    x: Tensor, weight: Tensor, padding: Sizes, band: slice
) -> Iterator[tuple[int, int, Area, Area]]:
    """Yield for each tap (i, j) the output cells it contributes to and the cells of the band it reads."""
    bands = (band, slice(0, x.shape[1]))
    for i in range(weight.shape[3]):
        for j in range(weight.shape[4]):
            target, source = [], []
            axes = zip(x.shape[:2], weight.shape[3:], padding, bands, (i, j), strict=True)
            for n, k, p, part, tap in axes:
                first = max(0, part.start + p - tap)
                stop = max(first, min(n + 2 * p - k + 1, part.stop + p - tap))
                target.append(slice(first, stop))
                source.append(slice(first + tap - p - part.start, stop + tap - p - part.start))
            yield i, j, (target[0], target[1]), (source[0], source[1])
