"""The point from which a training goes on after it was killed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.exceptions import SIGTERMException

from stconv.datasets.series.loader import ResumableLoader
from stconv.tracking.callbacks import run_logger
from stconv.tracking.run_layout import checkpoint_path

INTERVAL_SECONDS = 300.0
RESUME = "resume"
"""Name of the checkpoint, and of it in `--ckpt_path`."""


class ResumePoint(Callback):
    """Write a checkpoint every few minutes, also in the middle of an epoch, and when the process is to end.

    It is `checkpoints/resume.ckpt` in the folder of the run, and is removed when the training ends well.
    Every checkpoint of a training holds the state of the random numbers and of the loader, so that dropout
    and the order of the windows are the same in a training that was resumed as in one that never stopped.

    Several processes look together after each step and each validation batch whether one of them was told to
    end (SIGTERM), and then write and stop together. Lightning's own handler broadcasts at once, in the middle
    of whatever the process does, and waits for the others forever.

    A validation is not kept in part: what is written during one, or just before it, begins it again.

    Args:
        seconds: Interval, s; None for five minutes.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = INTERVAL_SECONDS if seconds is None else seconds
        self._last = time.monotonic()
        self._told_to_end = self._due = False
        self._common_batches = 0
        self._state: Mapping[str, Any] | None = None
        self._trainer: Trainer | None = None

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handler, which was set just before."""
        self._listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the random numbers and the place in the epoch; this callback is the last one."""
        self._listen(trainer)
        self._last, self._trainer = time.monotonic(), trainer
        state, self._state = self._state, None
        if state is None:
            return
        torch.set_rng_state(state["cpu"])
        if torch.cuda.is_initialized() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        loader = trainer.train_dataloader
        if isinstance(loader, ResumableLoader):
            given = state.get("given", 0)  # a checkpoint of an older version has none
            unfinished = given < trainer.num_training_batches
            loader.load_state_dict({"given": given if unfinished else 0})

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Write the checkpoint if the interval is over, between two steps of the optimizer.

        Raises:
            SIGTERMException: One of several processes was told to end.
        """
        if trainer.fit_loop._should_accumulate():
            return
        due = time.monotonic() - self._last >= self.seconds
        due, told_to_end = on_any_process(trainer, due, self._told_to_end)
        if validation_follows(trainer):
            self._due = due  # a checkpoint of this moment would resume after the validation
        elif told_to_end:
            raise SIGTERMException  # on all processes at once: `on_exception` writes
        elif due:
            self._write(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint that was due after the last step, before averaged weights take their place."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if trainer.world_size > 1:
            self._common_batches = smallest(trainer, sum(map(int, trainer.num_val_batches)))
        if self._due:
            self._due = False
            self._write(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop several processes together; a single one is stopped by Lightning.

        Raises:
            SIGTERMException: One of several processes was told to end.
        """
        if trainer.world_size == 1 or trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if batch_idx >= self._common_batches:
            return  # the other processes have no such batch, and would not be there to answer
        if on_any_process(trainer, self._told_to_end)[0]:
            raise SIGTERMException

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the checkpoint if the process was asked to end, as clusters do before they stop a job."""
        if isinstance(exception, SIGTERMException) and not trainer.sanity_checking:
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the checkpoint, which nobody needs any more."""
        path = self._path(trainer)
        if path is not None and trainer.is_global_zero:
            path.unlink(missing_ok=True)

    def _listen(self, trainer: Trainer) -> None:
        """Only note that the process was told to end; Lightning sets the former handler again at the end."""
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: object) -> None:
        self._told_to_end = True

    def _write(self, trainer: Trainer) -> None:
        path = self._path(trainer)
        if path is None:
            return
        with validation_as_begun(trainer):
            trainer.save_checkpoint(path, weights_only=False)
        self._last = time.monotonic()

    @staticmethod
    def _path(trainer: Trainer) -> Path | None:
        logger = run_logger(trainer)
        return None if logger is None else Path(logger.log_dir, checkpoint_path(RESUME))

    def state_dict(self) -> dict[str, Any]:
        """State of the random numbers, the same on all processes of a training, and the batches given."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        loader = None if self._trainer is None else self._trainer.train_dataloader
        given = loader.state_dict()["given"] if isinstance(loader, ResumableLoader) else 0
        return {"cpu": torch.get_rng_state(), "cuda": cuda, "given": given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the training starts."""
        self._state = state_dict


def on_any_process(trainer: Trainer, *flags: bool) -> list[bool]:
    """Whether each flag is set on at least one process; all of them have to ask at the same place."""
    if trainer.world_size == 1:
        return list(flags)
    found = torch.tensor([float(flag) for flag in flags], device=trainer.strategy.root_device)
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def smallest(trainer: Trainer, number: int) -> int:
    """Return the smallest number of all processes; all of them have to ask at the same place."""
    found = torch.tensor(number, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
    return int(found)


def validation_follows(trainer: Trainer) -> bool:
    """Whether the training step that has just ended is followed by a validation."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


@contextmanager
def validation_as_begun(trainer: Trainer) -> Iterator[None]:
    """During a validation, let Lightning count as if its first batch had just begun.

    A training that is resumed from there does the validation first, as a whole. From the count after a batch,
    it would go on with the next step, and that epoch would have no scores.
    """
    if not trainer.validating:
        yield
        return
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    counted = progress.state_dict()
    progress.reset()
    progress.increment_ready()
    progress.increment_started()
    try:
        yield
    finally:
        progress.load_state_dict(counted)
