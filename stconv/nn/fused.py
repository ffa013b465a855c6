"""Batch normalization and activation in one step, for tensors with channels innermost."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ShapeError
from stconv.nn.cells import channels_innermost
from stconv.nn.fast_paths import is_plain, takes_fast_paths


class NormalizedActivation(torch.autograd.Function):
    """Batch normalization in training, then max(y, slope y) in place.

    Only the input and, if there is an activation, the sign of the result are kept for the backward pass, so
    that the result may be changed in place afterwards.

    Args:
        x: Values, (rows, channel), contiguous.
        weight: Scale, (channel,).
        bias: Shift, (channel,).
        mean: Running mean, updated in place.
        variance: Running variance, updated in place.
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.
        slope: Slope of the activation below zero, in [0, 1]; 1 for no activation.
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
        """Normalize by the mean and variance of the rows."""
        y, means, inverses = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        torch.native_batch_norm(
            _image(x), weight, bias, mean, variance, True, momentum, eps, out=(_image(y), means, inverses)
        )
        above = y > 0 if slope != 1 else None
        if above is not None:
            activate_(y, slope)
        ctx.save_for_backward(x, weight, means, inverses, above)
        ctx.eps, ctx.slope = eps, slope
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, by torch's own operations, which can be differentiated again."""
        x, weight, means, inverses, above = ctx.saved_tensors
        change = dy.contiguous()
        if above is not None:
            change = torch.ops.aten.leaky_relu_backward(change, above.to(dy.dtype), ctx.slope, True)
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            _image(change), _image(x), weight, None, None, means, inverses, True, ctx.eps, [True] * 3
        )
        return _rows(dx), dweight, dbias, None, None, None, None, None


def normalized(x: Tensor, norm: nn.Module, activation: nn.Module) -> Tensor:
    """Return activation(norm(x)), in one step where that is possible.

    Args:
        x: Values, (batch, channel, time, lat, lon), in any memory order.
        norm: Any normalization.
        activation: Any activation.
    """
    if isinstance(norm, nn.BatchNorm3d):
        _check_values(x, norm)
    order = channels_innermost(x) if _is_fused(x, norm) else None
    if order is None:
        y: Tensor = activation(norm(x))
        return y
    assert isinstance(norm, nn.BatchNorm3d)
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    slope, inner = slope_of(activation), x.permute(order)
    rows = NormalizedActivation.apply(  # type: ignore[no-untyped-call]
        inner.flatten(0, 3), norm.weight, norm.bias, norm.running_mean, norm.running_var,
        norm.momentum, norm.eps, 1.0 if slope is None else slope,
    )  # fmt: skip
    y = rows.view(inner.shape).permute([order.index(dim) for dim in range(5)])
    return activation(y) if slope is None else y


def _is_fused(x: Tensor, norm: nn.Module) -> bool:
    return (
        isinstance(norm, nn.BatchNorm3d)
        and is_plain(norm, nn.BatchNorm3d)
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and takes_fast_paths(x, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )


def _check_values(x: Tensor, norm: nn.BatchNorm3d) -> None:
    """Raise ShapeError if there is a single value per channel, which has no variance."""
    if norm.training and x.numel() == x.shape[1]:
        raise ShapeError(
            f"batch normalization got input size {tuple(x.shape)}; expected more than 1 value per channel "
            "in training, since one value has no variance. Use a larger batch or grid, or norm 'layer'."
        )


def is_constant(norm: nn.Module) -> bool:
    """Whether a normalization is a fixed scale and shift, which a convolution before it can take over."""
    return (
        isinstance(norm, nn.BatchNorm3d)
        and is_plain(norm, nn.BatchNorm3d)
        and not norm.training
        and norm.affine
        and norm.track_running_stats
        and not torch.is_grad_enabled()
    )


def folded(conv: nn.Conv3d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of one convolution that equals both layers in evaluation mode."""
    assert isinstance(norm, nn.BatchNorm3d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    before = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return conv.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - before * scale


def slope_of(activation: nn.Module) -> float | None:
    """Return the slope below zero of a piecewise linear activation, in [0, 1]; None for any other."""
    if not is_plain(activation, nn.Identity, nn.ReLU, nn.LeakyReLU):
        return None
    if isinstance(activation, nn.LeakyReLU):
        return activation.negative_slope if 0 <= activation.negative_slope <= 1 else None
    return 0.0 if isinstance(activation, nn.ReLU) else 1.0


def activate_(y: Tensor, slope: float) -> Tensor:
    """Apply max(y, slope y) in place; with a slope of zero, minus infinity becomes zero too."""
    return F.relu_(y) if slope == 0 else F.leaky_relu_(y, slope) if slope != 1 else y


def _image(rows: Tensor) -> Tensor:
    """View (rows, channel) as an image of one column with channels innermost."""
    return rows.view(1, len(rows), 1, -1).permute(0, 3, 1, 2)


def _rows(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])
