"""The learning rate over a training whose length is not stated."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import ConfigError
from stconv.losses import MaskedMSE
from stconv.models import Conv3D
from stconv.schedules import WarmupCosine
from stconv.task import ForecastTask


class Rates(pl.Callback):
    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def trained(tmp_path: Path, max_epochs: int = 2, **options) -> tuple[ForecastTask, np.ndarray]:
    path = generate(tmp_path / "made.nc", n_steps=100, n_lat=4, n_lon=5)
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("t2m",)),
        WindowSettings(t_in=2, leads=1),
        loading=LoadingSettings(batch_size=8),
    )
    network = Conv3D(1, 1, 2, 1, n_layers=1, n_filters=2, kernel=3)
    task = ForecastTask(network, MaskedMSE(), **options)
    rates = Rates()
    pl.Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[rates],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
    ).fit(task, data)  # fmt: skip
    return task, np.array(rates.rates)


def test_rises_and_falls_over_the_whole_training(tmp_path: Path) -> None:
    _, rates = trained(
        tmp_path,
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.01),
        lr_scheduler=lambda o: WarmupCosine(o, warmup=0.25, start=0.1, end=0.01),
    )
    n = len(rates)
    x = np.arange(n) / (n - 1)
    rise = 0.1 + 0.9 * x / 0.25
    fall = 0.01 + 0.99 * (1 + np.cos(np.pi * (x - 0.25) / 0.75)) / 2
    np.testing.assert_allclose(rates[:, 0], 0.01 * np.where(x < 0.25, rise, fall), rtol=1e-6)
    assert n >= 12


def test_weight_decay_leaves_biases_and_norms(tmp_path: Path) -> None:
    task, _ = trained(
        tmp_path, 1, optimizer=lambda p: torch.optim.AdamW(p, lr=0.0, weight_decay=0.1), decay_all=False
    )
    kernels, others = task.trainer.optimizers[0].param_groups
    assert (kernels["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {weight.ndim for weight in others["params"]} == {1}
    assert len(kernels["params"]) + len(others["params"]) == len(list(task.network.parameters()))


def test_a_training_without_an_end_is_refused() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ConfigError, match=r"whose length is not limited\. Set trainer.max_epochs"):
        WarmupCosine(optimizer).follow(float("inf"))
    with pytest.raises(ConfigError, match=r"warmup 1\.5, start 0\.04"):
        WarmupCosine(optimizer, warmup=1.5)
