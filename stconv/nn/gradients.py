"""Gradients of a convolution by torch's own operations, which can be differentiated again and batched.

A fast path uses them where its own products do not suffice: for second derivatives, under functorch, or for
gradients that it could not compute accurately.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def convolution_gradients(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    wanted: Sequence[bool],
    *,
    zeros: tuple[int, int] = (0, 0),
    padding: Sequence[int],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of a convolution of stride 1 with respect to input, weight and bias.

    Args:
        dy: Gradient of the loss with respect to the output, (n, c_out, ...).
        x: Input, (n, c_in, ...).
        weight: Weight, (c_out, c_in, ...).
        wanted: Whether to compute each of the three; the others are None.
        zeros: Zeros before and after the first axis behind the channels, in addition to `padding`.
        padding: Zeros on either side of each axis.
    """
    n_axes = weight.ndim - 2
    longer = F.pad(x, (*(0, 0) * (n_axes - 1), *zeros)) if any(zeros) else x
    ones, none = [1] * n_axes, [0] * n_axes
    dx, dw, db = torch.ops.aten.convolution_backward(
        dy, longer, weight, [len(weight)], ones, list(padding), ones, False, none, 1, list(wanted)
    )
    if dx is not None and any(zeros):
        dx = dx.narrow(2, zeros[0], x.shape[2])
    return dx, dw, db
