"""Convolutions in time alone, (k, 1, 1), as matrix products: over (time, channel), or over channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from stconv.nn.cells import FRAMES, steps_seen
from stconv.nn.fast_paths import takes_fast_paths
from stconv.nn.gradients import convolution_gradients

SUMMED_ROWS = 2**13
"""Rows that are summed at once to the gradient of a weight. BLAS takes up to four times as long for a row
where it sums half a million of them in one product."""


class TemporalProduct(torch.autograd.Function):
    """Convolution along time: y[t] = sum over j of x[t + j - before] w[j].

    The k steps that an output step sees are contiguous, so that it is one product of (rows, k c_in) by (k
    c_in, c_out), without multiplying any padding.

    Args:
        x: Input, (rows, steps, c_in), contiguous.
        weight: Weight, (c_out, c_in, k).
        bias: Bias, (c_out,), or None.
        zeros: Steps of zeros before and after the frames.

    Returns:
        (rows, steps + before + after - k + 1, c_out).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, zeros: tuple[int, int]) -> Tensor:
        """Compute the output step by step."""
        ctx.save_for_backward(x, weight)
        ctx.zeros = zeros
        rows, steps, c_in = x.shape
        c_out, _, k = weight.shape
        taps = weight.permute(2, 1, 0).reshape(k * c_in, c_out)
        flat = x.view(rows, steps * c_in)
        found = steps_seen(steps, k, zeros)
        y = x.new_empty(rows, len(found), c_out)
        for t, (frames, by) in enumerate(found):
            seen = flat[:, frames.start * c_in : frames.stop * c_in]
            if bias is None:
                torch.mm(seen, taps[by.start * c_in : by.stop * c_in], out=y[:, t])
            else:
                torch.addmm(bias, seen, taps[by.start * c_in : by.stop * c_in], out=y[:, t])
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients; that of an input step is a product over the output steps that see it."""
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or not takes_fast_paths(dy, x, weight):
            of_x, of_weight, of_bias = convolution_gradients(
                dy.mT, x.mT, weight, ctx.needs_input_grad[:3], zeros=ctx.zeros, padding=(0,)
            )
            return None if of_x is None else of_x.mT, of_weight, of_bias, None
        rows, steps, c_in = x.shape
        c_out, _, k = weight.shape
        found, before = steps_seen(steps, k, ctx.zeros), ctx.zeros[0]
        n_out = len(found)
        flat = dy.reshape(rows, n_out * c_out)
        dx = dw = None
        if ctx.needs_input_grad[0] and (n_out, steps) == (1, k):  # every step is seen once
            dx = torch.mm(flat, weight.permute(0, 2, 1).reshape(c_out, k * c_in)).view_as(x)
        elif ctx.needs_input_grad[0]:
            taps = weight.flip(2).permute(2, 0, 1).reshape(k * c_out, c_in)
            dx = torch.empty_like(x)
            for i in range(steps):
                t = i + before
                first, last = max(0, t - k + 1), min(n_out - 1, t)
                seen = taps[(k - 1 - t + first) * c_out : (k - t + last) * c_out]
                torch.mm(flat[:, first * c_out : (last + 1) * c_out], seen, out=dx[:, i])
        if ctx.needs_input_grad[1]:
            frames = x.view(rows, steps * c_in)
            total = x.new_zeros(k * c_in, c_out)
            for start in range(0, rows, SUMMED_ROWS):
                part = slice(start, start + SUMMED_ROWS)
                for t, (seen_frames, by) in enumerate(found):
                    seen = frames[part, seen_frames.start * c_in : seen_frames.stop * c_in]
                    change = flat[part, t * c_out : (t + 1) * c_out]
                    total[by.start * c_in : by.stop * c_in].addmm_(seen.T, change)
            dw = total.view(k, c_in, c_out).permute(2, 1, 0)
        return dx, dw, dy.sum((0, 1)) if ctx.needs_input_grad[2] else None, None


class TemporalTaps(torch.autograd.Function):
    """The same convolution of frames in channels_last_3d: one product over the channels for each tap.

    Between convolutions in space, which keep this order, nothing is copied to another one.

    Args:
        x: Input, (batch, steps, cells, c_in), contiguous.
        weight: Weight, (c_out, c_in, k).
        bias: Bias, (c_out,), or None.
        zeros: Steps of zeros before and after the frames.

    Returns:
        (batch, steps + before + after - k + 1, cells, c_out).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, zeros: tuple[int, int]) -> Tensor:
        """Add the product of each tap to the output steps that see a frame through it."""
        ctx.save_for_backward(x, weight)
        ctx.zeros = zeros
        batch, steps, cells, _ = x.shape
        c_out, _, k = weight.shape
        n_out = steps + sum(zeros) - k + 1
        y = x.new_zeros(batch, n_out * cells, c_out)
        if bias is not None:
            y += bias
        frames = x.flatten(1, 2)
        for tap, seen, out in _taps(steps, cells, n_out, k, zeros[0]):
            y[:, out].baddbmm_(frames[:, seen], weight[:, :, tap].T.expand(batch, -1, -1))
        return y.view(batch, n_out, cells, c_out)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients tap by tap."""
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or not takes_fast_paths(dy, x, weight):
            of_x, of_weight, of_bias = convolution_gradients(
                dy.movedim(3, 1), x.movedim(3, 1), weight[..., None], ctx.needs_input_grad[:3],
                zeros=ctx.zeros, padding=(0, 0),
            )  # fmt: skip
            of_weight = None if of_weight is None else of_weight.squeeze(3)
            return None if of_x is None else of_x.movedim(1, 3), of_weight, of_bias, None
        batch, steps, cells, c_in = x.shape
        c_out, _, k = weight.shape
        frames, change = x.flatten(1, 2), dy.reshape(batch, -1, c_out)
        dx = torch.zeros_like(frames) if ctx.needs_input_grad[0] else None
        dw = weight.new_zeros(k, c_in, c_out) if ctx.needs_input_grad[1] else None
        for tap, seen, out in _taps(steps, cells, dy.shape[1], k, ctx.zeros[0]):
            if dx is not None:
                dx[:, seen].baddbmm_(change[:, out], weight[:, :, tap].expand(batch, -1, -1))
            if dw is not None:
                torch.sum(frames[:, seen].mT @ change[:, out], 0, out=dw[tap])
        of_x = None if dx is None else dx.view_as(x)
        of_bias = dy.sum((0, 1, 2)) if ctx.needs_input_grad[2] else None
        return of_x, None if dw is None else dw.permute(2, 1, 0), of_bias, None


def _taps(steps: int, cells: int, n_out: int, k: int, before: int) -> Iterator[tuple[int, slice, slice]]:
    """Iterate over the taps that see a frame, with the cells of all frames seen and of the output steps."""
    for tap in range(k):
        first, last = max(0, before - tap), min(n_out, steps + before - tap)
        if last > first:
            shift = tap - before
            yield (
                tap,
                slice((first + shift) * cells, (last + shift) * cells),
                slice(first * cells, last * cells),
            )


def temporal_taps(x: Tensor, weight: Tensor, bias: Tensor | None, zeros: tuple[int, int] = (0, 0)) -> Tensor:
    """Convolve (batch, c_in, time, lat, lon) along time; the result has the same order of memory.

    Args:
        x: Input in channels_last_3d, channels innermost and windows outermost.
        weight: Weight, (c_out, c_in, k).
        bias: Bias, (c_out,), or None.
        zeros: Steps of zeros before and after the frames.

    Returns:
        (batch, c_out, time + before + after - k + 1, lat, lon).
    """
    frames = x.permute(FRAMES).flatten(2, 3)
    y: Tensor = TemporalTaps.apply(frames, weight, bias, zeros)  # type: ignore[no-untyped-call]
    return y.unflatten(2, x.shape[3:]).permute(0, 4, 1, 2, 3)


def temporal_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, zeros: tuple[int, int] = (0, 0)
) -> Tensor:
    """Convolve (lat, lon, batch, time, c_in) along time.

    Args:
        x: Input, contiguous.
        weight: Weight, (c_out, c_in, k).
        bias: Bias, (c_out,), or None.
        zeros: Steps of zeros before and after the frames.

    Returns:
        (lat, lon, batch, time + before + after - k + 1, c_out).
    """
    y: Tensor = TemporalProduct.apply(x.flatten(0, 2), weight, bias, zeros)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:3], *y.shape[1:])
