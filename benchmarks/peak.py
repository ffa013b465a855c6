"""Peak memory of training steps, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch

from benchmarks.limits import interleaved
from benchmarks.networks import BATCH, SIZES, plain, row, training_step
from stconv.models import STConvS2S
from stconv.nn.memory import channels_last, recompute


def rows() -> list[dict[str, Any]]:
    """Rows {name, value, unit, target}: bytes above what was there before the first step, and the price."""
    n_cells = BATCH * prod(SIZES["CFSR"]["grid"])
    found = [
        row(f"CFSR, training step, {way}: peak per cell and window", _in_child(way) / n_cells / 1e3, "kB")
        for way in ("plain", "ours", "recomputed")
    ]
    seconds = interleaved({way: _step(way) for way in ("ours", "recomputed")}, rounds=5)
    price = seconds["recomputed"] / seconds["ours"]
    return [*found, row("CFSR, training step, recomputed: time, times ours", price, "x")]


def _in_child(way: str) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (way,))


def peak(way: str) -> float:
    """Peak bytes of two training steps; call it in a process that has done nothing else."""
    step = _step(way)
    before = _memory("VmRSS")
    for _ in range(2):
        step()
    return _memory("VmHWM") - before


def _memory(name: str) -> int:
    """Bytes, from /proc: what `getrusage` calls the peak begins with that of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _step(way: str) -> Callable[[], None]:
    settings = dict(SIZES["CFSR"])
    lat, lon = settings.pop("grid")
    network = STConvS2S(1, 1, 5, 5, variant="R", alignment="paper", **settings)
    x, y = torch.randn(BATCH, 1, 5, lat, lon), torch.randn(BATCH, 1, 5, lat, lon)
    if way == "plain":
        return plain(training_step(network, x, y))
    return training_step(recompute(channels_last(network), way == "recomputed"), x, y)
