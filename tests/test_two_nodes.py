"""Two nodes of one process each, in two network namespaces, train as one, also after one was killed.

It needs root and `ip`. The nodes are joined by one link, and share the file system, as those of a cluster do.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stconv.cli.main import main
from stconv.datasets.recipes.synthetic import generate
from stconv.tracking import find_run, list_runs

CONFIG = """\
seed_everything: 0
data: {paths: made.nc, inputs: [t2m], t_in: 3, leads: 2, batch_size: 8}
model:
  network:
    class_path: stconv.models.ResNet2D
    init_args: {n_filters: 4, dilations: [1], norm: layer}
  loss: {class_path: stconv.losses.MaskedMSE}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer:
  accelerator: cpu
  max_epochs: 2
  limit_train_batches: 8  # whole ones only
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made, run_name: one}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_rmse, filename: best, save_last: true}
"""
SLOWLY = """\
import os, sys, time
import stconv.experiments.resuming as resuming
from stconv.cli.main import main
from stconv.task import ForecastTask
resuming.INTERVAL_SECONDS = 0.0
step = ForecastTask.training_step
def slow(self, batch, i):
    time.sleep(0.2)
    print("step", self.global_step, "of process", os.getpid(), flush=True)
    return step(self, batch, i)
ForecastTask.training_step = slow
sys.exit(main(sys.argv[1:]))
"""
"""Each step waits and is followed by a checkpoint, so that a process is killed in the middle of an epoch."""
ADDRESSES = ("10.77.0.1", "10.77.0.2")
SECONDS = 900


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture
def nodes():
    """Names of two namespaces with a link between them and no other way out."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip")
    names = [f"stconv{os.getpid()}{letter}" for letter in "ab"]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
        ip(
            "link",
            "add",
            "link0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "link0",
            "netns",
            names[1],
        )
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "link0")
            ip("-n", name, "link", "set", "link0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "link0")
    generate(tmp_path / "made.nc", n_steps=110, n_lat=6, n_lon=7)
    Path("c.yaml").write_text(CONFIG)
    Path("slowly.py").write_text(SLOWLY)
    return tmp_path


def launch(nodes, program, run_name, *options):
    """One torchrun on each node."""
    started = []
    for rank, (node, address) in enumerate(zip(nodes, ADDRESSES, strict=True)):
        torchrun = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=2"]
        torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:29400", f"--rdzv-id={run_name}"]
        torchrun += [f"--rdzv-conf=is_host={int(rank == 0)}", f"--local-addr={address}"]
        fit = ["fit", "--config", "c.yaml", "--trainer.logger.init_args.run_name", run_name, *options]
        several = ["--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp"]
        started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", node, sys.executable, *torchrun, *program, *fit, *several],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
    return started


def ended(processes):
    """Wait for both, and return what the second still said."""
    said = [process.communicate(timeout=SECONDS)[0] for process in processes]
    for process, words in zip(processes, said, strict=True):
        assert process.returncode == 0, words
    return said[1]


def stop(processes):
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def weights(run_name):
    run = find_run(run_name)
    assert run.status == "FINISHED"
    file = Path(run.tags["stconv.folder"], "checkpoints", "last.ckpt")
    return torch.load(file, map_location="cpu", weights_only=True)


@pytest.mark.slow
def test_two_nodes_learn_as_one_process_and_go_on_after_one_was_killed(nodes, folder):
    assert main(["fit", "--config", "c.yaml"]) == 0
    processes = launch(nodes, ["-m", "stconv"], "two nodes")
    try:
        ended(processes)
        processes = launch(nodes, ["slowly.py"], "restarted", "--ckpt_path", "resume")
        said = next(
            found for line in processes[1].stdout if (found := re.match(r"step 12 of process (\d+)", line))
        )
        os.kill(int(said[1]), signal.SIGKILL)
        again = ended(processes)
    finally:
        stop(processes)
    steps = [int(step) for step in re.findall(r"^step (\d+)", again, re.MULTILINE)]
    assert steps[0] in {11, 12, 13}, "not from the start"
    one, two, restarted = (weights(name) for name in ("one", "two nodes", "restarted"))
    assert one["global_step"] == two["global_step"] == restarted["global_step"] == 16
    for name, value in two["state_dict"].items():
        torch.testing.assert_close(one["state_dict"][name], value, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(restarted["state_dict"][name], value, rtol=0, atol=1e-6)
    assert len(list_runs("made")) == 3, "the restarted training is the same run"
