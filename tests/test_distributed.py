"""Two processes train, score and fail as one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import SequentialSampler

from stconv.cli.main import main
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.sampling import BlockShuffle, EpochShuffle, Shard
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.errors import ConfigError
from stconv.tracking import find_run, list_runs
from stconv.verification import Verification
from stconv.verification.scores.pooled import PooledMean
from waiting import until

CONFIG = """\
seed_everything: 0
data: {paths: made.nc, inputs: [t2m], t_in: 3, leads: 2, batch_size: 8, static_fields: [latitude]}
model:
  network:
    class_path: stconv.models.ResNet2D
    init_args: {n_filters: 4, dilations: [1], norm: layer}
  loss: {class_path: stconv.losses.MaskedMSE}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer:
  accelerator: cpu
  max_epochs: 2
  limit_train_batches: 8  # whole ones only: of the last, two processes see one window less if it is odd
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made, run_name: one}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_rmse, filename: best}
"""
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.logger.init_args.run_name", "two"]


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("n", [2, 23, 24])
@pytest.mark.parametrize("kind", ["shuffle", "blocks", "in order"])
def test_shards_never_overlap_and_make_the_batches_of_one_process(kind, n, even, n_ranks):
    def order():
        if kind == "in order":
            return SequentialSampler(range(n))
        return EpochShuffle(n, seed=3) if kind == "shuffle" else BlockShuffle(n, 3, block=4, mixed=2)

    def epoch(sampler):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(5)
        return list(sampler)

    shards = [Shard(order(), n, rank, n_ranks, even) for rank in range(n_ranks)]
    items = [epoch(shard) for shard in shards]
    assert [len(shard) for shard in shards] == [len(part) for part in items]
    together = [item for part in items for item in part]
    assert len(set(together)) == len(together) == (n - n % n_ranks if even else n)
    alone, batch = epoch(order()), 2 * n_ranks
    for start in range(0, len(together) - batch + 1, batch):
        first = start // n_ranks
        parts = {item for part in items for item in part[first : first + 2]}
        assert parts == set(alone[start : start + batch])


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    class Trainer:
        world_size, global_rank = 2, 1

    generate(tmp_path / "made.nc", n_steps=60, n_lat=4, n_lon=4)
    data = GridDataModule(
        SourceSettings(str(tmp_path / "made.nc")),
        PreparationSettings(("t2m",)),
        WindowSettings(t_in=3, leads=2),
        loading=LoadingSettings(batch_size=15),
    )
    data.setup()
    data.trainer = Trainer()
    with pytest.raises(ConfigError, match="batch_size is 15 for 2 processes; expected a multiple of 2"):
        data.val_dataloader()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    generate(tmp_path / "made.nc", n_steps=130, n_lat=6, n_lon=7)
    Path("c.yaml").write_text(CONFIG)
    return tmp_path


def start(*argv):
    return subprocess.Popen(
        [sys.executable, "-m", "stconv.cli.main", *argv],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_learn_and_score_as_one(folder):
    assert main(["fit", "--config", "c.yaml"]) == 0
    assert main(["test", "--config", "c.yaml"]) == 0
    for command in ("fit", "test"):
        process = start(command, "--config", "c.yaml", *TWO)
        out, _ = process.communicate(timeout=1800)
        assert process.returncode == 0, out
    one, two = find_run("one"), find_run("two")
    assert two.status == "FINISHED"
    names = ("train_loss", "val_loss", "val_rmse", "test_loss", "test_rmse", "test_rmse_lead_2")
    for name in names:
        assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-4), name
    scores = [
        Verification.from_netcdf(Path(run.tags["stconv.folder"], "verification", "scores.nc")).sums
        for run in (one, two)
    ]
    np.testing.assert_array_equal(scores[0].reference_index, scores[1].reference_index)
    weights = [
        torch.load(Path(run.tags["stconv.folder"], "checkpoints", "best.ckpt"), weights_only=True)[
            "state_dict"
        ]
        for run in (one, two)
    ]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-3, atol=1e-5, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["rank 1", "rank 0"])
def test_a_dead_rank_fails_the_run(folder, victim):
    process = start("fit", "--config", "c.yaml", *TWO, "--trainer.max_epochs", "100000")
    running = _wait(lambda: [run for run in _runs() if "train_loss" in run.metrics], process)
    dead = process.pid if victim == "rank 0" else _children_of(process.pid, "stconv.cli.main")[0]
    os.kill(dead, signal.SIGKILL)
    out, _ = process.communicate(timeout=1800)
    assert process.returncode != 0, out
    failed = _wait(lambda: [r for r in _runs() if r.status == "FAILED"])
    assert failed[0].run_id == running[0].run_id
    assert failed[0].tags["stconv.error"]


def _runs():
    return list_runs("made") if Path("mlflow.db").exists() and Path("runs").is_dir() else []


def _wait(condition, process=None):
    def look():
        if process is not None and process.poll() is not None:
            pytest.fail(process.communicate()[0])
        return condition()

    return until(look, seconds=900, pause=0.5)


def _children_of(pid, name):
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and name in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def test_a_loss_is_pooled_over_values_also_where_processes_saw_different_numbers():
    first, second = PooledMean(), PooledMean()
    first.add(1.0, 8)
    first.add(4.0, 5)
    second.add(2.0, 12)
    assert first.merge(second).mean == pytest.approx((8 + 20 + 24) / 25)
    assert np.isnan(PooledMean().mean)
