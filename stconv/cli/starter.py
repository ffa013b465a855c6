"""A first experiment for a source that `inspect` has understood, as YAML for ``stconv fit --config``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stconv.errors import ConfigError

if TYPE_CHECKING:
    from stconv.datasets.grid_spec import GridSpec
    from stconv.datasets.inspect import Description

EPOCHS = 20


def write_starter(file: Path, found: Description, paths: Sequence[str], spec: GridSpec) -> Path:
    """Write a self-contained experiment: (2+1)D convolutions on the increment over persistence.

    Args:
        file: YAML file to write; an existing one is kept.
        found: What `describe` said.
        paths: The paths as the user gave them; written as absolute ones.
        spec: How the source was read.

    Returns:
        The file.

    Raises:
        ConfigError: The file exists, or the source has too few steps to train on.
    """
    if file.exists():
        raise ConfigError(
            f"'{file}' exists already and is not overwritten. Choose another name, or remove it."
        )
    if found.n_training_windows == 0:
        raise ConfigError(
            f"No experiment for {found.files[0]}: its {found.n_steps} step(s) leave no training window of "
            f"{found.t_in} + {found.leads} steps. Give more files, or ask for fewer with --t-in and --leads."
        )
    header = (
        f"# Forecast {', '.join(v.name for v in found.variables)}: {found.n_steps} steps of {found.step}, "
        f"{found.t_in} in, {found.leads} out. Written by `stconv inspect`; change it as you like.\n"
        f"# stconv fit --config {file.name}\n"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(header + yaml.safe_dump(_experiment(found, paths, spec, file.stem), sort_keys=False))
    return file


def _experiment(found: Description, paths: Sequence[str], spec: GridSpec, name: str) -> dict[str, Any]:
    grid = {key: value for key, value in asdict(spec).items() if value}
    data: dict[str, Any] = {
        "paths": [str(Path(path).expanduser().absolute()) for path in paths],
        "inputs": [variable.name for variable in found.variables],
        **({"grid": grid} if grid else {}),
        "t_in": found.t_in,
        "leads": found.leads,
        "split": {"fractions": [0.6, 0.2, 0.2]},
        "scaling": "zscore",
        "batch_size": 16,
    }
    if any(variable.missing_share > 0 for variable in found.variables):
        data["mask_channel"] = True
    if any(variable.weekly_gain is not None for variable in found.variables):
        data["weekly_cycle"] = True
    stack = {
        "class_path": "stconv.models.Conv2Plus1D",
        "init_args": {"n_layers": 3, "n_filters": 32, "kernel": 5},
    }
    return {
        "seed_everything": 0,
        "data": data,
        "model": {
            "network": {"class_path": "stconv.models.Increment", "init_args": {"network": stack}},
            "loss": {"class_path": "stconv.losses.MaskedMSE"},
            "optimizer": {
                "class_path": "torch.optim.AdamW",
                "init_args": {"lr": 0.002, "weight_decay": 0.01},
            },
            "lr_scheduler": {
                "class_path": "torch.optim.lr_scheduler.CosineAnnealingLR",
                "init_args": {"T_max": EPOCHS},
            },
        },
        "trainer": {
            "accelerator": "auto",
            "max_epochs": EPOCHS,
            "gradient_clip_val": 1.0,
            "log_every_n_steps": 10,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "logger": {"class_path": "stconv.tracking.RunLogger", "init_args": {"experiment_name": name}},
            "callbacks": [
                {
                    "class_path": "pytorch_lightning.callbacks.ModelCheckpoint",
                    "init_args": {"monitor": "val_loss", "filename": "best", "save_last": True},
                },
                {
                    "class_path": "pytorch_lightning.callbacks.EarlyStopping",
                    "init_args": {"monitor": "val_loss", "patience": 5},
                },
            ],
        },
    }
