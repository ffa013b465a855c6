"""Muon for convolutions, an optimizer with orthogonal steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from stconv.errors import ConfigError

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of x <- (a + b x x' + c (x x')^2) x, steep at zero: Jordan et al. (2024)."""
ITERATIONS = 5
RMS = 0.2
"""Root mean square of a step of AdamW, to which steps are scaled: Liu et al. (2025), section 2.2."""
LEAST = 1e-7


class Muon(Optimizer):
    """Orthogonal steps for the weights of layers, and steps of AdamW for all other parameters.

    m <- momentum m + (1 - momentum) g, u = (1 - momentum) g + momentum m
    w <- (1 - lr weight_decay) w - lr 0.2 sqrt(max(rows, columns)) orthogonal(u)

    A layer's weight (out, in, ...) is treated as a matrix with `out` rows. orthogonal(u) has the singular
    vectors of u and singular values near 1, so that directions with a small gradient are learned as fast as
    those with a large one. Steps are as large as those of AdamW, so that both take the same learning rate and
    weight decay. Biases, norms and filters of a single channel are left to AdamW. `torch.optim.Muon` accepts
    only matrices.

    Args:
        params: Parameters, or groups of parameters.
        lr: Learning rate.
        weight_decay: Share of the weights that is subtracted in a step, before multiplication by lr.
        momentum: Momentum of orthogonal steps, in [0, 1).
        betas: Decay of the mean gradient and of its mean square in AdamW, in [0, 1).
        eps: Constant in the denominator of AdamW.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; Liu et al. (2025),
        arXiv 2502.16982 (weight decay, size of the steps); Loshchilov and Hutter (2019), arXiv 1711.05101
        (AdamW).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 3e-3,
        *,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("eps", eps)):
            if not value >= 0:
                raise ConfigError(f"{name} of Muon is {value}; expected at least 0.")
        for name, value in (("momentum", momentum), ("betas", betas[0]), ("betas", betas[1])):
            if not 0 <= value < 1:
                raise ConfigError(f"{name} of Muon has {value}; expected at least 0 and less than 1.")
        settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step; parameters without a gradient do not change.

        Args:
            closure: Function that computes the loss again.

        Returns:
            The loss that `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    change = self._orthogonal if _is_matrix(weight) else self._adaptive
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.sub_(change(weight, weight.grad, group), alpha=group["lr"])
        return loss

    def _orthogonal(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        mean = self._state(weight, "momentum_buffer")
        mean.lerp_(gradient, 1 - group["momentum"])
        ahead = _whole(gradient.lerp(mean, group["momentum"])).flatten(1)
        size = RMS * max(ahead.shape) ** 0.5
        return _spread_as(weight, size * orthogonal(ahead).view(weight.shape))

    def _adaptive(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        steps = self._state(weight, "step", torch.zeros(()))
        steps += 1
        mean, square = self._state(weight, "exp_avg"), self._state(weight, "exp_avg_sq")
        of_mean, of_square = group["betas"]
        mean.lerp_(gradient, 1 - of_mean)
        square.lerp_(gradient.square(), 1 - of_square)
        unbiased = square / (1 - of_square ** steps.item())
        return mean / (1 - of_mean ** steps.item()) / (unbiased.sqrt() + group["eps"])

    def _state(self, weight: Tensor, name: str, first: Tensor | None = None) -> Tensor:
        state = self.state[weight]
        if name not in state:
            state[name] = torch.zeros_like(weight) if first is None else first
        found: Tensor = state[name]
        return found


def _is_matrix(weight: Tensor) -> bool:
    return weight.ndim > 1 and weight.shape[0] > 1 and weight.shape[1] > 1


def _whole(tensor: Tensor) -> Tensor:
    """The tensor with all of its parts, where FSDP has spread them over processes."""
    if not hasattr(tensor, "full_tensor"):  # loading DTensor takes time
        return tensor
    whole: Tensor = tensor.full_tensor()
    return whole


def _spread_as(weight: Tensor, whole: Tensor) -> Tensor:
    """The tensor in parts like those of the weight."""
    if not hasattr(weight, "full_tensor"):
        return whole
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(weight, DTensor)
    everywhere = DTensor.from_local(whole, weight.device_mesh, [Replicate()] * weight.device_mesh.ndim)
    return everywhere.redistribute(placements=weight.placements)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return the matrix with its singular values near 1 (0.7 to 1.2), by five Newton-Schulz iterations.

    They run on the small square matrix x x' alone, since all factors are polynomials of it; that takes a
    fifth of the multiply-adds.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    a, b, c = QUINTIC
    x = wide / wide.norm().clamp(min=LEAST)
    gram, turn = x @ x.T, None
    for _ in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        turn = factor if turn is None else factor @ turn
        gram = factor @ gram @ factor
    assert turn is not None
    x = turn @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
