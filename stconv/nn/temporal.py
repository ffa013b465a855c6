"""Convolutions in time alone, (k, 1, 1), as matrix products over (time, channel)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class TemporalProduct(torch.autograd.Function):
    """Valid convolution along time: y[t] = sum over j of x[t + j] w[j].

    The k steps that an output step sees lie one after the other, so that it is one product of
    (rows, k c_in) by (k c_in, c_out), and every multiply-add counts.

    Args:
        x: (rows, steps, c_in), contiguous.
        weight: (c_out, c_in, k).
        bias: (c_out,), or None.

    Returns:
        (rows, steps - k + 1, c_out).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the output, step by step."""
        ctx.save_for_backward(x, weight)
        rows, steps, c_in = x.shape
        c_out, _, k = weight.shape
        taps = weight.permute(2, 1, 0).reshape(k * c_in, c_out)
        flat = x.view(rows, steps * c_in)
        y = x.new_empty(rows, steps - k + 1, c_out)
        for t in range(steps - k + 1):
            seen = flat[:, t * c_in : (t + k) * c_in]
            if bias is None:
                torch.mm(seen, taps, out=y[:, t])
            else:
                torch.addmm(bias, seen, taps, out=y[:, t])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Compute both gradients; that of the input is a product over the output steps that saw it."""
        x, weight = ctx.saved_tensors
        rows, steps, c_in = x.shape
        c_out, _, k = weight.shape
        n_out = steps - k + 1
        flat = dy.reshape(rows, n_out * c_out)
        dx = dw = None
        if ctx.needs_input_grad[0] and n_out == 1:  # every step was seen once
            dx = torch.mm(flat, weight.permute(0, 2, 1).reshape(c_out, k * c_in)).view_as(x)
        elif ctx.needs_input_grad[0]:
            taps = weight.flip(2).permute(2, 0, 1).reshape(k * c_out, c_in)
            dx = torch.empty_like(x)
            for t in range(steps):
                first, last = max(0, t - k + 1), min(n_out - 1, t)
                seen = taps[(k - 1 - t + first) * c_out : (k - t + last) * c_out]
                torch.mm(flat[:, first * c_out : (last + 1) * c_out], seen, out=dx[:, t])
        if ctx.needs_input_grad[1]:
            frames = x.view(rows, steps * c_in)
            total = x.new_zeros(k * c_in, c_out)
            for t in range(n_out):
                total.addmm_(frames[:, t * c_in : (t + k) * c_in].T, flat[:, t * c_out : (t + 1) * c_out])
            dw = total.view(k, c_in, c_out).permute(2, 1, 0)
        return dx, dw, dy.sum((0, 1)) if ctx.needs_input_grad[2] else None


def temporal_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve (lat, lon, batch, time, c_in) along time, without padding.

    Args:
        x: Contiguous.
        weight: (c_out, c_in, k).
        bias: (c_out,), or None.

    Returns:
        (lat, lon, batch, time - k + 1, c_out).
    """
    y: Tensor = TemporalProduct.apply(x.flatten(0, 2), weight, bias)
    return y.view(*x.shape[:3], *y.shape[1:])
