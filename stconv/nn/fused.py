"""Batch normalization and activation in one step, over values whose channels lie innermost."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stconv.nn.cells import channels_innermost, takes_fast_paths


class NormalizedActivation(torch.autograd.Function):
    """Batch normalization in training, then max(y, slope y) in place.

    Nothing but input and result is kept for the backward pass: the sign of the result is that of what went
    into the activation.

    Args:
        x: (rows, channel), contiguous.
        weight: Scale, (channel,).
        bias: Shift, (channel,).
        mean: Running mean, updated.
        variance: Running variance, updated.
        momentum: Share of the batch in the running statistics.
        eps: Added to the variance.
        slope: Of the activation below zero, in [0, 1].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        momentum: float,
        eps: float,
        slope: float,
    ) -> Tensor:
        """Normalize by the statistics of the rows."""
        y, *batch = torch.native_batch_norm(_image(x), weight, bias, mean, variance, True, momentum, eps)
        if slope != 1:
            F.leaky_relu_(y, slope)
        ctx.save_for_backward(x, y, weight, *batch)
        ctx.eps, ctx.slope = eps, slope
        return _rows(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Undo the activation by the sign of the result, then torch's own gradient."""
        x, y, weight, mean, inverse = ctx.saved_tensors
        change = _image(dy.contiguous())
        if ctx.slope != 1:
            change = torch.ops.aten.leaky_relu_backward(change, y, ctx.slope, True)
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            change, _image(x), weight, None, None, mean, inverse, True, ctx.eps, [True] * 3
        )
        return _rows(dx), dweight, dbias, None, None, None, None, None


def normalized(x: Tensor, norm: nn.Module, activation: nn.Module) -> Tensor:
    """Return activation(norm(x)), in one step where that is possible.

    Args:
        x: (batch, channel, time, lat, lon), in any order in memory.
        norm: Any normalization.
        activation: Any activation.
    """
    slope = slope_of(activation)
    order = channels_innermost(x)
    if (
        order is None
        or type(norm) is not nn.BatchNorm3d
        or not (norm.training and norm.affine and norm.track_running_stats)
        or norm.momentum is None
        or is_watched(norm)
        or is_watched(activation)
        or not takes_fast_paths(x)
    ):
        y: Tensor = activation(norm(x))
        return y
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    inner = x.permute(order)
    rows = NormalizedActivation.apply(
        inner.flatten(0, 3), norm.weight, norm.bias, norm.running_mean, norm.running_var,
        norm.momentum, norm.eps, 1.0 if slope is None else slope,
    )  # fmt: skip
    y = rows.view(inner.shape).permute([order.index(dim) for dim in range(5)])
    return activation(y) if slope is None else y


def folded(conv: nn.Conv3d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution that does what both do in evaluation mode."""
    assert isinstance(norm, nn.BatchNorm3d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    before = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return conv.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - before * scale


def slope_of(activation: nn.Module) -> float | None:
    """Return the slope below zero of an activation that is a line on either side; None of any other."""
    if isinstance(activation, nn.Identity):
        return 1.0
    if isinstance(activation, nn.ReLU):
        return 0.0
    return activation.negative_slope if isinstance(activation, nn.LeakyReLU) else None


def is_watched(module: nn.Module) -> bool:
    """Whether somebody wants to see what goes through the module itself."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _image(rows: Tensor) -> Tensor:
    """View (rows, channel) as an image of one column whose channels lie innermost."""
    return rows.view(1, len(rows), 1, -1).permute(0, 3, 1, 2)


def _rows(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])
