"""The time of a training: measured before the first epoch, and kept within a budget."""

from __future__ import annotations

import contextlib
import copy
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from stconv.datasets.series.dataset import WindowDataset
from stconv.errors import ConfigError
from stconv.schedules import WarmupCosine
from stconv.training import TrainingTask

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule

TRIAL_SECONDS = 1.0
"""Steps are measured until they have taken this long, at least two of them."""
MOST_TRIALS = 20
ENDLESS = 1000
"""Epochs of a training that has a budget of time and no number of epochs; Lightning's own default."""


@dataclass(frozen=True)
class Pace:
    """Measured speed of a training.

    Attributes:
        step_seconds: Time of a training step, s.
        n_steps: Number of steps in an epoch.
        validation_seconds: Time of the validation after an epoch, s.
    """

    step_seconds: float
    n_steps: int
    validation_seconds: float

    @property
    def epoch_seconds(self) -> float:
        """Time of an epoch with its validation, s."""
        return self.step_seconds * self.n_steps + self.validation_seconds

    def training(self, epochs: int) -> str:
        """Say how long a training takes, or one epoch of a training without end (`epochs` is -1)."""
        if epochs < 0:
            return f"An epoch of {self.n_steps} steps takes about {duration(self.epoch_seconds)}."
        return (
            f"{epochs} epoch{'s' * (epochs != 1)} of {self.n_steps} steps take about "
            f"{duration(epochs * self.epoch_seconds)} ({duration(self.epoch_seconds)} each)."
        )

    def stepping(self, steps: int) -> str:
        """Say how long a training of so many steps takes."""
        return f"{steps} step{'s' * (steps != 1)} take about {duration(steps * self.step_seconds)}."


def duration(seconds: float) -> str:
    """Write a time for people: ``0.4 s``, ``12 s``, ``3.5 min``, ``2.1 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def measure(task: TrainingTask, data: GridDataModule) -> Pace:
    """Measure some training steps and a batch of the validation, on a copy of the network.

    The random numbers and the weights of the training that follows are those without a measurement.

    Args:
        task: Task on its device, with a loss.
        data: Data that are set up.
    """
    network = task.network
    devices = [task.device] if task.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        task.network = copy.deepcopy(network).train()
        try:
            return _measured(task, data)
        finally:
            task.network = network


def _measured(task: TrainingTask, data: GridDataModule) -> Pace:
    def batch_of(period: str) -> tuple[dict[str, torch.Tensor], int]:
        references = data.references[period]
        size = min(data.loading.batch_size, len(references))
        windows = WindowDataset(data.series, data.spec, references)
        batch = {name: value.to(task.device) for name, value in windows.batch(range(size)).items()}
        return batch, -(-len(references) // size)

    batch, n_steps = batch_of("train")
    optimizer = task.optimization.optimizer_of(task.network)

    def step() -> None:
        optimizer.zero_grad()
        task.loss_of(batch).backward()
        optimizer.step()

    step()  # the first one makes the state of the optimizer
    step_seconds = _seconds(step, task.device)
    if "val" not in data.references:  # a refit
        return Pace(step_seconds, n_steps, 0.0)
    batch, n_batches = batch_of("val")
    task.network.eval()
    with torch.no_grad():
        one = _seconds(lambda: task.loss_of(batch), task.device)
    return Pace(step_seconds, n_steps, one * n_batches)


def _seconds(step: Callable[[], Any], device: torch.device) -> float:
    """Mean time of a step."""
    began, n = time.perf_counter(), 0
    while n < 2 or (n < MOST_TRIALS and time.perf_counter() - began < TRIAL_SECONDS):
        step()
        n += 1
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / n


def as_timedelta(text: Any) -> timedelta | None:
    """Read `trainer.max_time`: ``DD:HH:MM:SS``, a timedelta, or its arguments by name.

    Raises:
        ConfigError: It is none of these, or not above zero.
    """
    if text is None or isinstance(text, timedelta):
        return text
    found = timedelta()
    if isinstance(text, str) and re.fullmatch(r"\d+:\d\d?:\d\d?:\d\d?", text):
        days, hours, minutes, seconds = map(int, text.split(":"))
        found = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    elif not isinstance(text, str):
        with contextlib.suppress(TypeError, ValueError):
            found = timedelta(**dict(text.items()))
    if found <= timedelta():
        raise ConfigError(
            f"trainer.max_time is '{text}'; expected days, hours, minutes and seconds such as 00:00:05:00, "
            "or {minutes: 5}, more than zero."
        )
    return found


class TrainingTime(Callback):
    """Say before the first epoch how long the training takes, and keep it within a budget.

    The clock starts with the callback, so that reading and preparing the data counts.
    With a budget, the number of epochs follows the measured pace and is corrected after each epoch, and so is
    the length of `WarmupCosine`. The training takes the budget and one epoch at most.

    Args:
        say: Takes a sentence.
        budget: Time of the training; None for `max_epochs` alone.
    """

    def __init__(self, say: Callable[[str], None], budget: timedelta | None = None) -> None:
        self.say, self.budget = say, budget
        self.spent = 0.0
        """Seconds of the epochs of an interrupted training that this one resumes."""
        self._began = self._first_began = time.monotonic()
        self._first_epoch = 0
        self._most_epochs = ENDLESS

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, and say how long it takes."""
        self._first_epoch = trainer.current_epoch
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            self._most_epochs = trainer.max_epochs
        assert isinstance(pl_module, TrainingTask)
        if pl_module.is_spread:  # a copy of its network may fit on no process: the first epoch tells
            self._plan(trainer, self._first_epoch, math.inf)
        else:
            self._measure(trainer, pl_module)
        self._first_began = time.monotonic()

    def _measure(self, trainer: Trainer, task: TrainingTask) -> None:
        pace = measure(task, trainer.datamodule)  # type: ignore[attr-defined]
        self._plan(trainer, self._first_epoch, pace.epoch_seconds)
        if trainer.is_global_zero and trainer.max_steps > 0:
            self.say(pace.stepping(trainer.max_steps))
        elif trainer.is_global_zero:
            endless = trainer.max_epochs == -1
            self.say(pace.training(-1 if endless else (trainer.max_epochs or ENDLESS) - self._first_epoch))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Correct the number of epochs by the time that those so far have taken."""
        done = trainer.current_epoch + 1
        took = time.monotonic() - self._first_began
        self._plan(trainer, done, took / (done - self._first_epoch))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _plan(self, trainer: Trainer, done: int, epoch_seconds: float) -> None:
        """Set the number of epochs to what the rest of the budget allows, the same on every rank."""
        if self.budget is None:
            return
        left = self.budget.total_seconds() - self.spent - self._elapsed()
        more = max(int(left / epoch_seconds), 0 if done > self._first_epoch else 1)
        epochs = trainer.strategy.broadcast(min(done + more, self._most_epochs))
        trainer.fit_loop.max_epochs = epochs
        n_steps = epochs * trainer.num_training_batches / trainer.accumulate_grad_batches
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, WarmupCosine):
                config.scheduler.follow(n_steps)

    def state_dict(self) -> dict[str, Any]:
        """Time spent so far, for a training that is resumed."""
        return {"spent": self.spent + self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the time spent before an interruption."""
        self.spent = float(state_dict["spent"])
