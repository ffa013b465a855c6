"""Learning rate schedules that get the length of the training from the trainer."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from stconv.errors import ConfigError


class WarmupCosine(LRScheduler):
    """Linear warm-up to the optimizer's learning rate, then cosine decay, updated at every step.

    lr(t) = lr (start + (1 - start) t / w)                         for t < w, w = warmup * steps
    lr(t) = lr (end + (1 - end) (1 + cos(pi (t - w) / (steps - w))) / 2)   after that

    The number of steps comes from the trainer, so that a configuration does not depend on epochs, batch size
    or data. `lr_interval` has no effect.

    Args:
        optimizer: Optimizer, whose learning rate is the largest of the schedule.
        warmup: Share of the steps before the largest learning rate is reached, in [0, 1).
        start: Learning rate at the first step, as a share of the largest.
        end: Learning rate at the last step, as a share of the largest.
        last_epoch: Index of the last step when training is resumed.

    Raises:
        ConfigError: A share is out of its range.

    Source:
        Loshchilov and Hutter (2017), arXiv 1608.03983 (cosine); Smith and Topin (2018), arXiv 1708.07120
        (warm-up).
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
        """Number of steps of the training; set before the first one."""
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the learning rate at a step, counted from 0, as a share of the largest."""
        if self.total_steps is None:
            return self.start
        last = max(self.total_steps - 1, 1)
        rise = self.warmup * last
        if step < rise:
            return self.start + (1 - self.start) * step / rise
        done = min((step - rise) / (last - rise), 1.0)
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * done)) / 2

    def follow(self, total_steps: float) -> None:
        """Set the length of the schedule to that of a training.

        Raises:
            ConfigError: The length of the training is not known.
        """
        if not math.isfinite(total_steps):
            raise ConfigError(
                "WarmupCosine ends with the training, whose length is not limited. Set trainer.max_epochs."
            )
        self.total_steps = int(total_steps)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * self.factor(self.last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rates of the current step."""
        return [float(base) * self.factor(self.last_epoch) for base in self.base_lrs]
