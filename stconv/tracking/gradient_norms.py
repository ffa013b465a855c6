"""Gradient norms per layer in the log of a run."""

from __future__ import annotations

import math

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from stconv.errors import ConfigError
from stconv.task import ForecastTask


class GradientNorms(Callback):
    """Log the L2 norm of the gradient of each layer, as `grad_norm/LAYER`, before it is clipped.

    Layers have the names of `stconv explain`; those without a gradient, such as frozen ones, are left out.

    Args:
        every_n_steps: Optimizer steps from one logging to the next; the first step is logged.

    Raises:
        ConfigError: The number is not a positive integer.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if isinstance(every_n_steps, bool) or not isinstance(every_n_steps, int) or every_n_steps < 1:
            raise ConfigError(
                f"every_n_steps of GradientNorms is {every_n_steps!r}; expected an integer of at least 1."
            )
        self.every_n_steps = every_n_steps

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the norms of this step."""
        if trainer.global_step % self.every_n_steps:
            return
        assert isinstance(pl_module, ForecastTask)
        norms = {f"grad_norm/{layer}": norm for layer, norm in gradient_norms(pl_module).items()}
        for logger in trainer.loggers:
            logger.log_metrics(norms, step=trainer.global_step)


def gradient_norms(task: ForecastTask) -> dict[str, float]:
    """Return the L2 norm of the gradient of each layer of a task's network, by the layer's name."""
    squares: dict[str, float] = {}
    for name, parameter in task.network.named_parameters():
        if parameter.grad is not None:
            layer = name.rpartition(".")[0].removesuffix(".conv") or type(task.network).__name__
            squares[layer] = squares.get(layer, 0.0) + float(parameter.grad.double().square().sum())
    return {layer: math.sqrt(square) for layer, square in squares.items()}
