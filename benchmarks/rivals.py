"""`python -m benchmarks.rivals CONFIG`: networks of the literature on the data of a configuration.

The configuration is trained as it stands; the others get its data, scaling, loss, optimizer (at a constant
rate) and as many minutes of training, with averaged weights. All are tested once, and `stconv compare` sets
them side by side. Minutes are of the processor, divided by the threads: other work on the machine does not
count.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml

RIVALS: dict[str, dict[str, Any]] = {
    "stconvs2s_r": {"class_path": "stconv.models.STConvS2S", "init_args": {"variant": "R"}},
    "convlstm": {"class_path": "stconv.models.ConvLSTM"},
    "frame_mixer": {"class_path": "stconv.models.FrameMixer"},
    "simvp": {"class_path": "stconv.models.SimVP", "init_args": {"hid_s": 64}},
}
DECAY = 0.99


class StopAfter(pl.Callback):
    """End the training after so many minutes of the processor, at a step; it is validated there.

    Args:
        minutes: Since the process began, divided by the threads.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes * torch.get_num_threads()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Look at the clock."""
        trainer.should_stop = trainer.should_stop or time.process_time() > self._seconds


def rival(config: dict[str, Any], name: str, minutes: float) -> dict[str, Any]:
    """The configuration with another network, trained for so many minutes."""
    model, trainer = config["model"], config["trainer"]
    kept = {key: model[key] for key in ("loss", "loss_units", "scoring", "optimizer") if key in model}
    best = {"monitor": "val_loss", "filename": "best", "save_last": True}
    return {
        "seed_everything": config.get("seed_everything", 0),
        "data": config["data"],
        "model": {"network": RIVALS[name], **kept},
        "trainer": {
            "max_epochs": -1,
            "gradient_clip_val": trainer.get("gradient_clip_val", 1.0),
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "logger": _logger(config, name),
            "callbacks": [
                {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": best},
                {"class_path": "stconv.task.WeightAveraging", "init_args": {"decay": DECAY}},
                {"class_path": "benchmarks.rivals.StopAfter", "init_args": {"minutes": minutes}},
            ],
        },
    }


def _logger(config: dict[str, Any], name: str) -> dict[str, Any]:
    experiment = config["trainer"]["logger"]["init_args"]["experiment_name"]
    return {
        "class_path": "stconv.tracking.RunLogger",
        "init_args": {"experiment_name": f"{experiment}_rivals", "run_name": name},
    }


def stconv(*arguments: str) -> float:
    """Run a command and give the seconds of the processor that it took, divided by the threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "stconv", *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent / torch.get_num_threads()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=__doc__)
    parser.add_argument("config", type=Path, help="an experiment, such as configs/ersst_v5.yaml")
    parser.add_argument(
        "--minutes", type=float, help="of training for each (default: what the configuration took)"
    )
    parser.add_argument("--only", nargs="*", choices=list(RIVALS), default=list(RIVALS), help="some of them")
    parser.add_argument(
        "--folder", type=Path, default=Path("rivals"), help="where their configurations are written"
    )
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    minutes = arguments.minutes
    ours = {**config, "trainer": {**config["trainer"], "logger": _logger(config, "configuration")}}
    for name in ["configuration", *arguments.only]:
        file = arguments.folder / f"{arguments.config.stem}_{name}.yaml"
        chosen = ours if name == "configuration" else rival(config, name, minutes or 1)
        file.write_text(yaml.safe_dump(chosen, sort_keys=False))
        seconds = stconv("fit", "--config", str(file))
        print(f"{name}: {seconds / 60:.1f} minutes")
        minutes = minutes or seconds / 60
        stconv("test", "--config", str(file))
    stconv("compare", "--experiment", ours["trainer"]["logger"]["init_args"]["experiment_name"])


if __name__ == "__main__":
    main()
