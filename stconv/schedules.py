"""Schedules of the learning rate that find the length of the training by themselves."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from stconv.errors import ConfigError


class WarmupCosine(LRScheduler):
    """Rise in a line to the optimizer's learning rate, then fall along half a cosine; step by step.

    lr(t) = lr (start + (1 - start) t / w)                         for t < w, w = warmup * steps
    lr(t) = lr (end + (1 - end) (1 + cos(pi (t - w) / (steps - w))) / 2)   after that

    The number of steps comes from the trainer, so that a configuration need not repeat it when epochs, batch
    size or data change. `lr_interval` does not matter.

    Args:
        optimizer: Its learning rate is the highest one.
        warmup: Share of the steps, in [0, 1), in which it is reached.
        start: Share of it at the first step.
        end: Share of it at the last step.
        last_epoch: Step to go on from.

    Raises:
        ConfigError: A share is out of its range.

    Source:
        Loshchilov and Hutter (2017), arXiv 1608.03983 (cosine); Smith and Topin (2018), arXiv 1708.07120
        (the rise).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: float = 0.2,
        start: float = 0.04,
        end: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not (0 <= warmup < 1 and 0 <= start <= 1 and 0 <= end <= 1):
            raise ConfigError(
                f"WarmupCosine has warmup {warmup}, start {start} and end {end}; expected shares from 0 to "
                "1, the warm-up below 1."
            )
        self.warmup, self.start, self.end = warmup, start, end
        self.total_steps: int | None = None
        """Of the training; set before its first step."""
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Share of the highest learning rate at a step, from 0."""
        if self.total_steps is None:
            return self.start
        last = max(self.total_steps - 1, 1)
        rise = self.warmup * last
        if step < rise:
            return self.start + (1 - self.start) * step / rise
        done = min((step - rise) / (last - rise), 1.0)
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * done)) / 2

    def follow(self, total_steps: float) -> None:
        """Stretch the schedule over a training.

        Raises:
            ConfigError: The training has no end.
        """
        if not math.isfinite(total_steps):
            raise ConfigError(
                "WarmupCosine ends with the training, and this one has no end. Set trainer.max_epochs."
            )
        self.total_steps = int(total_steps)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * self.factor(self.last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of this step."""
        return [float(base) * self.factor(self.last_epoch) for base in self.base_lrs]
