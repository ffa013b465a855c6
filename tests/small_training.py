"""A small network, made data and a trainer that leaves nothing behind, for tests of single steps."""

import copy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.models import Conv3D


def data_module(path: Path) -> GridDataModule:
    return GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("t2m",)),
        WindowSettings(t_in=3, leads=2),
        loading=LoadingSettings(batch_size=8),
    )  # type: ignore[arg-type]


def trainer(folder: Path, steps: int, **settings: Any) -> pl.Trainer:
    return pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,  # a larger interval than the training makes Lightning warn
        default_root_dir=folder,
        **{"logger": False, **settings},
    )


class FirstBatch(pl.Callback):
    """Keeps the first batch, and the network as it was before it."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.batch = {name: value.clone() for name, value in batch.items()}
            self.network = copy.deepcopy(pl_module.network)


def net() -> Conv3D:
    torch.manual_seed(0)
    return Conv3D(1, 1, 3, 2, n_layers=2, n_filters=4, kernel=3)


def weighted_loss(task: Any, network: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean squared error of a batch by the weights of its cells, in plain torch."""
    target, weight = task.preparation.targets(batch)
    weight = weight.expand_as(target)
    return ((network(task.preparation.inputs(batch)) - target) ** 2 * weight).sum() / weight.sum()
