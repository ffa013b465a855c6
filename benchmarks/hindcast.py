"""A worker of a hindcast: its peak memory, and its speed against the bare batched model.

Speed is measured by turns, in time of the processor on one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import xarray as xr

from stconv.bundle import make_bundle
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import Periods
from stconv.datasets.series.store import load_series
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.grid import GridSpec, canonicalize
from stconv.datasets.summary import DataSummary
from stconv.hindcasts.cluster import Means
from stconv.hindcasts.job import Block, Job
from stconv.hindcasts.layout import blocks_of, chunks_of
from stconv.hindcasts.plan import Plan, Wish
from stconv.hindcasts.run import output_of
from stconv.hindcasts.worker import compute
from stconv.models import Conv2Plus1D

FRAMES, LEADS = 5, 5
GRIDS = {"32 x 32": (32, 32, 64), "181 x 360": (181, 360, 8), "721 x 1440": (721, 1440, 2)}
"""Rows, columns and forecasts of each measurement."""
AIM = 0.85


def archive(path: Path, n: int, rows: int, columns: int) -> None:
    values = 280 + np.random.default_rng(0).normal(0, 3, (n, rows, columns)).astype("f4")
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h"),
            "lat": np.linspace(-80, 80, rows),
            "lon": np.linspace(-180, 180, columns, endpoint=False),
        },
    ).to_zarr(path, zarr_format=2, encoding={"t2m": {"chunks": (4, rows, columns)}})


def save_bundle(folder: Path, path: Path) -> Path:
    torch.manual_seed(0)
    ds, origin = canonicalize(xr.open_zarr(path).load())
    series = load_series(ds, origin, ["t2m"])
    n = len(series)
    preparation = Preparation.fit(series, range(n - 2), PreparationSettings(("t2m",)))
    network = Conv2Plus1D(preparation.c_in, 1, FRAMES, LEADS, n_layers=3, n_filters=16, kernel=3)
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(n - 2), range(n - 2, n - 1), range(n - 1, n)),
        preparation=preparation,
        spec=WindowSpec.consecutive(FRAMES, LEADS),
        grid=GridSpec(),
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    made = make_bundle(SimpleNamespace(network=network, preparation=preparation), datamodule, name="air")
    return made.save(folder)


def peak(job: Job, blocks: list[Block]) -> int:
    """Peak resident memory of a worker, bytes; in a process that does nothing else."""
    torch.set_num_threads(1)
    for block in blocks:
        compute(job, block)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def measured(grid: str, memory: int, turns: int = 2) -> dict[str, Any]:
    """Forecasts a second of the bare model and of the worker, by turns, the better of each."""
    rows, columns, n = GRIDS[grid]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "air.zarr")
        archive(path, n + FRAMES - 1, rows, columns)
        bundle = save_bundle(Path(folder, "bundle"), path)
        means = Means(workers=1, memory=memory, threads=1)
        wish = Wish(bundle, None, [str(path)], GridSpec(), Path(folder, "h.zarr"))
        plan = Plan(wish, means)
        store = output_of(plan)
        chunks = chunks_of(plan.positions, store.per_chunk)
        blocks = blocks_of(chunks, plan.per_block(store.per_chunk))
        forecaster, size = plan.forecasts.forecaster, plan.job.effort.batch
        frames = plan.forecasts.read(plan.positions)
        torch.set_num_threads(1)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            most = pool.apply(peak, (plan.job, blocks))
        bare, worker = [0.0], [0.0]
        if turns:
            compute(plan.job, blocks[0])  # opens model and archive, which a worker does once
        for _ in range(turns):
            began = process_time()
            for start in range(0, n, size):
                chosen = plan.positions[start : start + size]
                forecaster.predict(batch_of(plan, chosen, frames))
            bare.append(n / (process_time() - began))
            began = process_time()
            for block in blocks:
                compute(plan.job, block)
            worker.append(n / (process_time() - began))
        stored = sum(file.stat().st_size for file in Path(folder, "h.zarr").rglob("*") if file.is_file())
        return {
            "grid": grid,
            "batch": size,
            "peak": most,
            "bare": max(bare),
            "worker": max(worker),
            "bytes": stored / n,
            "plain": plan.sizes.forecast_bytes,
        }


def batch_of(plan: Plan, chosen: list[int], frames: Any) -> dict[str, torch.Tensor]:
    forecaster = plan.forecasts.forecaster
    return {
        "inputs": torch.from_numpy(frames.at(chosen, forecaster.offsets)),
        "input_cycles": torch.zeros(len(chosen), FRAMES, 3),
        "target_cycles": torch.zeros(len(chosen), LEADS, 3),
        "reference_index": torch.zeros(len(chosen), dtype=torch.int64),
    }


def rows(grids: Sequence[str], memory: int, turns: int) -> list[dict[str, Any]]:
    found = []
    for grid in grids:
        one = measured(grid, memory, turns)
        found.append(
            {
                "name": f"{grid}: memory",
                "value": one["peak"] / memory,
                "unit": f"of {memory / 2**30:g} GiB",
                "target": "<= 1",
            }
        )
        if not turns:
            continue
        share = one["worker"] / one["bare"]
        found += [
            {"name": f"{grid}: bare model", "value": one["bare"], "unit": "forecasts/s", "target": ""},
            {"name": f"{grid}: worker", "value": one["worker"], "unit": "forecasts/s", "target": ""},
            {"name": f"{grid}: share", "value": share, "unit": "", "target": f">= {AIM}"},
            {
                "name": f"{grid}: on disk",
                "value": one["bytes"] / one["plain"],
                "unit": "of plain",
                "target": "",
            },
        ]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", nargs="*", default=list(GRIDS), help=f"among {', '.join(GRIDS)}")
    parser.add_argument("--memory", type=float, default=4.0, help="of a worker, GiB (default: %(default)s)")
    parser.add_argument(
        "--turns", type=int, default=2, help="0 measures the memory alone (default: %(default)s)"
    )
    chosen = parser.parse_args()
    for row in rows(chosen.grid, int(chosen.memory * 2**30), chosen.turns):
        print(f"{row['name']:<28}{row['value']:>10.3g} {row['unit']} {row['target']}")
