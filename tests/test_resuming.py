"""A training that was killed goes on in the middle of its epoch, as if it had never stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stconv.experiments.resuming as resuming
from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.loader import ResumableLoader
from stconv.datasets.series.sampling import BlockShuffle, EpochShuffle, Shard
from stconv.task import ForecastTask
from stconv.tracking import find_run, list_runs
from stconv.tracking.store import connect
from waiting import until

CONFIG = """\
seed_everything: 0
data: {paths: made.nc, inputs: [t2m], t_in: 3, leads: 2, batch_size: 8}
model:
  network:
    class_path: stconv.models.ResNet2D
    init_args: {n_filters: 4, dilations: [1], norm: layer, dropout: 0.3}
  loss: {class_path: stconv.losses.MaskedMSE}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
  lr_scheduler: {class_path: stconv.schedules.WarmupCosine}
trainer:
  accelerator: cpu
  max_epochs: 2
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made, run_name: whole}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_rmse, filename: best, save_last: true}
    - class_path: stconv.task.WeightAveraging
      init_args: {decay: 0.8}
"""
STOPPED = ["fit", "--config", "c.yaml", "--trainer.logger.init_args.run_name", "stopped"]


def loader(order, n=23, batch_size=2):
    return ResumableLoader(range(n), batch_size=batch_size, sampler=order, collate_fn=list)


def orders(n):
    yield EpochShuffle(n, seed=3)
    yield BlockShuffle(n, 3, block=4, mixed=2)
    yield from (Shard(EpochShuffle(n, seed=3), n, rank, 2, even=True) for rank in range(2))


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("given", [0, 1, 4])
def test_a_loader_goes_on_after_the_batches_it_has_given(kind, given):
    whole, again = (loader(list(orders(23))[kind]) for _ in range(2))
    whole.sampler.set_epoch(2)
    batches = iter(whole)
    first = [next(batches) for _ in range(given)]
    state = whole.state_dict()
    again.load_state_dict(state)
    resumed = iter(again)  # before the epoch is set, as Lightning does it
    again.sampler.set_epoch(2)
    rest = list(resumed)
    assert rest == list(batches)
    assert state == {"given": given}
    again.sampler.set_epoch(2)
    assert list(again) == first + rest  # the next epoch is whole
    assert whole.state_dict() == again.state_dict()


def test_global_random_numbers_are_not_drawn():
    torch.manual_seed(0)
    list(loader(EpochShuffle(23, seed=3)))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    generate(tmp_path / "made.nc", n_steps=110, n_lat=6, n_lon=7)
    Path("c.yaml").write_text(CONFIG)
    return tmp_path


def weights(run, name="last"):
    file = Path(run.tags["stconv.folder"], "checkpoints", f"{name}.ckpt")
    return torch.load(file, map_location="cpu", weights_only=True)


def same_weights(one, other):
    assert one["global_step"] == other["global_step"]
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], weight, rtol=0, atol=0)


@pytest.mark.slow
def test_a_stopped_training_ends_with_the_weights_of_a_whole_one(folder, monkeypatch, capsys):
    """Dropout, weight averaging, schedule and optimizer: all go on in the middle of the second epoch."""
    assert main(["fit", "--config", "c.yaml"]) == 0
    step, n_steps = ForecastTask.training_step, []

    def failing(task, batch, batch_idx):
        n_steps.append(batch_idx)
        if len(n_steps) == 11:
            raise FloatingPointError("the machine is lost")
        return step(task, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(resuming, "INTERVAL_SECONDS", 0.0)
        patched.setattr(ForecastTask, "training_step", failing)
        with pytest.raises(FloatingPointError):
            main(STOPPED)
    assert n_steps[-1] not in (0, n_steps[-2])  # inside an epoch
    point = weights(find_run("stopped"), "resume")
    assert point["global_step"] == 10
    capsys.readouterr()
    assert main([*STOPPED, "--ckpt_path", "resume"]) == 0
    assert "goes on where it was stopped" in capsys.readouterr().out
    whole, stopped = find_run("whole"), find_run("stopped")
    same_weights(weights(whole), weights(stopped))
    assert len(list_runs("made")) == 2  # the same run went on
    assert stopped.status == "FINISHED"
    assert not list(folder.rglob("resume.ckpt"))


def same_scores(one, other):
    for name in ("val_loss", "val_rmse", "val_rmse_lead_2"):
        expected, found = (connect().get_metric_history(run.run_id, name) for run in (one, other))
        assert [(point.step, point.value) for point in found] == [(p.step, p.value) for p in expected]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "epoch"), [("told", 0), ("told", 1), ("lost", 1)])
def test_a_validation_that_is_broken_off_is_done_again_as_a_whole(folder, monkeypatch, fault, epoch):
    """The averaged weights are in the network meanwhile, and the sums of errors are half full."""
    assert main(["fit", "--config", "c.yaml"]) == 0
    step, seen = ForecastTask.validation_step, []

    def broken(task, batch, batch_idx):
        seen.append(batch_idx)
        if task.current_epoch == epoch and fault == "told":
            signal.raise_signal(signal.SIGTERM)
        elif task.current_epoch == epoch:
            raise FloatingPointError("the machine is lost")
        return step(task, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(resuming, "INTERVAL_SECONDS", 1e9 if fault == "told" else 0.0)
        patched.setattr(ForecastTask, "validation_step", broken)
        if fault == "told":
            assert main(STOPPED) == 130
        else:
            with pytest.raises(FloatingPointError):
                main(STOPPED)
    assert seen[-1] == 0, "it ends within the batch"
    assert main([*STOPPED, "--ckpt_path", "resume"]) == 0
    whole, stopped = find_run("whole"), find_run("stopped")
    for name in ("last", "best"):
        same_weights(weights(whole, name), weights(stopped, name))
    same_scores(whole, stopped)


@pytest.mark.slow
def test_without_a_stopped_training_it_begins_at_the_start(folder, capsys):
    assert main([*STOPPED, "--ckpt_path", "resume", "--trainer.max_epochs", "1"]) == 0
    assert "No training of this configuration was stopped: this one begins" in capsys.readouterr().out
    assert find_run("stopped").status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "ranks", "moment"),
    [
        (signal.SIGKILL, 1, "step 12"),
        (signal.SIGTERM, 1, "step 12"),
        (signal.SIGKILL, 2, "step 12"),
        (signal.SIGTERM, 2, "step 12"),
        (signal.SIGTERM, 2, "validation 1"),
    ],
)
def test_a_killed_process_is_resumed(folder, how, ranks, moment):
    several = ["--trainer.devices", "2", "--trainer.strategy", "ddp"] if ranks == 2 else []
    whole = [*STOPPED[:-1], "uninterrupted", *several]
    assert subprocess.run([sys.executable, "-m", "stconv", *whole], check=False).returncode == 0
    # Each step waits, so that the signal comes in the middle of an epoch.
    slowly = (
        "import sys, time, stconv.experiments.resuming as r; from stconv.task import ForecastTask as T; "
        f"r.INTERVAL_SECONDS = {0.0 if how is signal.SIGKILL else 1e9}; step = T.training_step\n"
        "def slow(self, batch, i):\n    time.sleep(0.2)\n"
        "    sys.stdout.write(f'step {self.global_step}\\n')\n    sys.stdout.flush()\n"
        "    return step(self, batch, i)\n"
        "score = T.validation_step\n"
        "def slow_too(self, batch, i):\n    sys.stdout.write(f'validation {self.current_epoch}\\n')\n"
        "    sys.stdout.flush(); time.sleep(1)\n    return score(self, batch, i)\n"
        "T.validation_step = slow_too\n"
        "T.training_step = slow; from stconv.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    Path("slowly.py").write_text(slowly)
    process = subprocess.Popen(
        [sys.executable, "slowly.py", *STOPPED, *several],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert any(line.startswith(moment) for line in process.stdout)
    if how is signal.SIGKILL:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    process.communicate(timeout=300)
    assert process.returncode != 0
    until(lambda: list(folder.rglob("resume.ckpt")))
    assert (
        main([*STOPPED, *several, "--ckpt_path", "resume"]) == 0
        if ranks == 1
        else (
            subprocess.run(
                [sys.executable, "-m", "stconv", *STOPPED, *several, "--ckpt_path", "resume"], check=False
            ).returncode
            == 0
        )
    )
    same_weights(weights(find_run("uninterrupted")), weights(find_run("stopped")))
    same_scores(find_run("uninterrupted"), find_run("stopped"))
