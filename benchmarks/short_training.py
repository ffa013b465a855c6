"""A configuration trained with a number of optimizer steps, without a run, for benchmarks of skill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule
    from stconv.evaluation.assessment import Assessment
    from stconv.task import ForecastTask
    from stconv.verification import Verification


def trained(file: Path, steps: int, folder: Path) -> tuple[ForecastTask, GridDataModule]:
    """Train with about so many optimizer steps; gives the best weights, or with 0 steps the start alone."""
    from stconv.experiments.running import run_experiment
    from stconv.experiments.trained_model import load_data

    data = load_data(file)
    data.setup("fit")
    epochs = max(1, round(steps * data.loading.batch_size / len(data.references["train"])))
    words = [
        f"--trainer.max_epochs={epochs}",
        "--trainer.logger=false",
        f"--trainer.default_root_dir={folder}",
    ]
    if steps == 0:
        words += ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    done = run_experiment("fit", ["--config", str(file), *words], bar=lambda: None)
    task: ForecastTask = done.model
    best = done.trainer.checkpoint_callback.best_model_path
    task.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    if steps == 0:
        task.network.residual_weight.zero_()
    return task.eval(), done.datamodule


@torch.inference_mode()
def tested(task: ForecastTask, data: GridDataModule, assessment: Assessment) -> Verification:
    """Score a model on the test period."""
    for batch in data.test_dataloader():
        assessment.add(batch, task.network.members(task.preparation.inputs(batch)))
    return assessment.verification(task.network.display_name)
