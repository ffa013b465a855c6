"""The progress of a training: a bar in a terminal, a line per epoch in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar


def progress_bar() -> ProgressBar:
    """The one that suits where the output goes."""
    return EpochBar() if sys.stdout.isatty() else EpochLines()


def is_watched() -> bool:
    """Whether somebody sees the output: a notebook or a terminal."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def interactive_bar() -> ProgressBar | None:
    """A bar where somebody sees it; a program that reads our output elsewhere gets none."""
    return EpochBar() if is_watched() else None


class EpochBar(RichProgressBar):
    """A bar for each epoch, which stays."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The losses, without Lightning's version number."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return dict(metrics)


class EpochLines(ProgressBar):
    """A line after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._began = 0.0

    def disable(self) -> None:
        """Lightning disables the bars of all processes but one."""
        self._enabled = False

    def enable(self) -> None:
        """The opposite of `disable`."""
        self._enabled = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the clock."""
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the losses of the epoch."""
        if not self._enabled:
            return
        metrics = self.get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        losses = {name: value for name, value in metrics.items() if isinstance(value, float)}
        words = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
        last = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        seconds = time.monotonic() - self._began
        print(f"epoch {trainer.current_epoch + 1}{last}  {words}  {seconds:.0f} s", flush=True)
