"""Trainings on one node and on two, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nodes.network import ADDRESSES, LINK
from stconv.tracking import find_run
from waiting import until

RESTARTS = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Without it, a restarted process of torch 2.13 finds the addresses of its dead predecessors."""
PROGRAM = Path(__file__).with_name("observed.py")
SECONDS = 1200
"""Reached only by a training that hangs."""


@dataclass
class Trained:
    """A training that has ended.

    Attributes:
        folder: Folder of its run.
        checkpoint: Its last one.
        windows: Windows of each step by rank, those of the last attempt at a step.
        restarts: Restarts that wrote a step.
    """

    folder: Path
    checkpoint: dict[str, Any]
    windows: list[dict[int, list[int]]]
    restarts: set[int]

    @property
    def together(self) -> dict[int, list[int]]:
        """Windows of each step on all ranks, sorted."""
        return {
            step: sorted(window for rank in self.windows for window in rank[step]) for step in self.windows[0]
        }


def train_on_one(config: str, name: str, *options: str) -> Trained:
    """Train in one process."""
    command = [sys.executable, str(PROGRAM), *_fit(config, name, options)]
    done = subprocess.run(
        command, env=_environment(name), capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return _trained(name)


def train_on_two(
    nodes: list[str], config: str, name: str, *options: str, strategy: str = "ddp", killed: str = ""
) -> Trained:
    """Train with torchrun on two nodes of one process each; `killed` is described in observed.py."""
    started = []
    try:
        for rank, (node, address) in enumerate(zip(nodes, ADDRESSES, strict=True)):
            torchrun = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=2"]
            torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:29400", f"--rdzv-id={name}"]
            torchrun += [f"--rdzv-conf=is_host={int(rank == 0)}", f"--local-addr={address}"]
            several = ["--trainer.num_nodes=2", "--trainer.devices=1", f"--trainer.strategy={strategy}"]
            command = [sys.executable, *torchrun, str(PROGRAM), *_fit(config, name, options), *several]
            with Path(f"{name}.{rank}.log").open("w") as log:
                process = subprocess.Popen(
                    ["ip", "netns", "exec", node, *command],
                    env=_environment(name) | RESTARTS | {"GLOO_SOCKET_IFNAME": LINK, "KILLED": killed},
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            started.append(process)
        until(lambda: _ended(started), seconds=SECONDS, pause=0.2)
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    said = "\n".join(Path(f"{name}.{rank}.log").read_text()[-6000:] for rank in range(2))
    assert [process.returncode for process in started] == [0, 0], said
    return _trained(name)


def _ended(processes: list[subprocess.Popen[bytes]]) -> bool:
    """Whether all have ended, or one of them in failure: the others would wait for it."""
    codes = [process.poll() for process in processes]
    return None not in codes or any(codes)


def _fit(config: str, name: str, options: tuple[str, ...]) -> list[str]:
    return ["fit", "--config", config, "--trainer.logger.init_args.run_name", name, *options]


def _environment(name: str) -> dict[str, str]:
    notes = Path(f"windows of {name}")
    notes.mkdir(exist_ok=True)
    return os.environ | {"OBSERVED": str(notes), "OMP_NUM_THREADS": "1"}


def _trained(name: str) -> Trained:
    run = find_run(name)
    assert run.status == "FINISHED"
    folder = Path(run.tags["stconv.folder"])
    notes = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(Path(f"windows of {name}").glob("*.jsonl"))
    ]
    return Trained(
        folder,
        torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True),
        [{line["step"]: line["windows"] for line in rank} for rank in notes],
        {line["restart"] for rank in notes for line in rank},
    )
