"""Convolutions in time alone, (k, 1, 1), computed as matrix products over (time, channel)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stconv.nn.cells import steps_seen
from stconv.nn.fast_paths import takes_fast_paths
from stconv.nn.gradients import convolution_gradients


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
            for t, (seen_frames, by) in enumerate(found):
                seen = frames[:, seen_frames.start * c_in : seen_frames.stop * c_in]
                total[by.start * c_in : by.stop * c_in].addmm_(seen.T, flat[:, t * c_out : (t + 1) * c_out])
            dw = total.view(k, c_in, c_out).permute(2, 1, 0)
        return dx, dw, dy.sum((0, 1)) if ctx.needs_input_grad[2] else None, None


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
