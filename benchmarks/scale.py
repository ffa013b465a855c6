"""`make bench-scale`: time and memory against cells, steps, variables, leads and files, with exponents.

Every measurement runs in a child process of its own, on one thread: time of its processor, and the memory
that it takes above its start. The exponent is that between the two largest sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import xarray as xr
from rich.console import Console
from rich.table import Table

from stconv.bundle import make_bundle
from stconv.compute.allocation import keep_freed_memory
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.evaluation.assessment import Assessment
from stconv.forecast import Forecaster
from stconv.hindcasts.cluster import Means
from stconv.hindcasts.plan import Plan, Wish
from stconv.hindcasts.run import run as run_hindcast
from stconv.losses import MaskedMSE
from stconv.models import Conv2Plus1D
from stconv.task import ForecastTask
from stconv.verification.scores.scoring import Scoring

FRAMES, BATCH, N_WINDOWS = 3, 4, 8
PICTURE = Path(__file__).with_name("scale.png")


@dataclass(frozen=True)
class Size:
    """A problem: rows and columns are the root of the cells."""

    cells: int = 1024
    steps: int = 120
    variables: int = 1
    leads: int = 5
    files: int = 1


SIZES = {
    "cells": [32**2, 64**2, 128**2, 256**2, 512**2],
    "steps": [200, 2000, 20_000],
    "variables": [1, 5, 20],
    "leads": [1, 10, 40],
    "files": [1, 10, 100],
}
BASE = {
    "cells": Size(steps=90),
    "steps": Size(cells=256),
    "files": Size(cells=64, steps=400),
    "leads": Size(cells=256, steps=600),
}


def archive(folder: Path, size: Size) -> list[str]:
    side = math.isqrt(size.cells)
    times = np.datetime64("1990-01-01", "ns") + np.arange(size.steps) * np.timedelta64(6, "h")
    random = np.random.default_rng(0)
    paths = []
    for i, part in enumerate(np.array_split(np.arange(size.steps), size.files)):
        fields = {
            f"v{k}": (
                ("time", "lat", "lon"),
                random.normal(0, 1, (len(part), side, side)).astype("f4"),
                {"units": "K"},
            )
            for k in range(size.variables)
        }
        axes = {"time": times[part], "lat": np.linspace(-60, 60, side), "lon": np.linspace(0, 90, side)}
        paths.append(str(folder / f"{i:05d}.nc"))
        xr.Dataset(fields, axes).to_netcdf(paths[-1])
    return paths


def prepared(folder: Path, size: Size) -> tuple[GridDataModule, ForecastTask, list[str]]:
    paths, names = archive(folder, size), tuple(f"v{k}" for k in range(size.variables))
    data = GridDataModule(
        SourceSettings(paths),
        PreparationSettings(names),
        WindowSettings(FRAMES, size.leads),
        loading=LoadingSettings(BATCH),
    )
    data.setup()
    network = Conv2Plus1D(data.c_in, data.c_out, FRAMES, size.leads, n_layers=1, n_filters=8, kernel=3)
    task = ForecastTask(network, MaskedMSE())
    task.preparation = data.preparation
    return data, task, paths


def inspect(folder: Path, size: Size) -> Callable[[], int]:
    paths = archive(folder, size)
    return lambda: len(describe(paths, t_in=FRAMES, leads=size.leads)[0].variables)


def fit(folder: Path, size: Size) -> Callable[[], int]:
    data, task, _ = prepared(folder, size)
    windows = WindowDataset(data.series, data.spec, data.references["train"])
    optimizer = torch.optim.AdamW(task.network.parameters())
    task._trainer = SimpleNamespace(datamodule=data)

    def steps() -> int:
        for start in range(2):
            optimizer.zero_grad()
            task.loss_of(windows.batch(range(start, start + BATCH))).backward()
            optimizer.step()
        return 2

    return steps


def test(folder: Path, size: Size) -> Callable[[], int]:
    data, task, _ = prepared(folder, size)
    windows = WindowDataset(data.series, data.spec, data.references["test"][:N_WINDOWS])
    task.network.eval()

    def scored() -> int:
        assessment = Assessment(data, data.preparation, Scoring())
        with torch.inference_mode():
            for start in range(0, len(windows), BATCH):
                batch = windows.batch(range(start, min(start + BATCH, len(windows))))
                assessment.add(batch, task.network.members(data.preparation.inputs(batch)))
        return len(windows)

    return scored


def bundle_of(folder: Path, data: GridDataModule, task: ForecastTask) -> Path:
    task.bands = None
    return make_bundle(task, data, name="scale").save(folder / "bundle")


def forecast(folder: Path, size: Size) -> Callable[[], int]:
    data, task, paths = prepared(folder, size)
    forecaster = Forecaster.from_path(bundle_of(folder, data, task))
    ds, origin = open_series(paths, GridSpec(), forecaster.names)
    return lambda: len(forecaster.forecast(ds, origin=origin).data_vars) and 1


def hindcast(folder: Path, size: Size) -> Callable[[], int]:
    data, task, paths = prepared(folder, size)
    bundle = bundle_of(folder, data, task)
    stride = max((size.steps - FRAMES) // N_WINDOWS, 1)
    wish = Wish(bundle, None, paths, GridSpec(), folder / "h.zarr", stride=stride)
    plan = Plan(wish, Means(0, 2**31, 1))

    def computed() -> int:
        return run_hindcast(plan, shown=False).made

    return computed


WORK = {"inspect": inspect, "fit, a step": fit, "test": test, "forecast": forecast, "hindcast": hindcast}
WHOLE = {"inspect", "test"}
"""Work that is counted as a whole; the others count a step or a forecast."""


def measured(name: str, size: Size) -> tuple[float, float]:
    """Seconds, and bytes above the start of the work."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(theirs, name, size))
    process.start()
    theirs.close()
    try:
        found: tuple[float, float] = ours.recv()
    finally:
        process.join()
    return found


def _child(connection: Any, name: str, size: Size) -> None:
    torch.set_num_threads(1)
    keep_freed_memory(None)  # as the commands do
    with tempfile.TemporaryDirectory() as folder:
        work = WORK[name](Path(folder), size)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        n = work()
        seconds = time.process_time() - began
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    connection.send((seconds if name in WHOLE else seconds / n, 1024.0 * more))


def exponent(sizes: list[int], values: list[float]) -> float:
    """Exponent between the two largest sizes."""
    if min(values[-2:]) <= 0:
        return math.nan
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def draw(found: dict[tuple[str, str], list[float]]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 3.6), layout="constrained", dpi=100)
    measured_along = list(dict.fromkeys(along for _, along in found))
    panels = figure.subplots(1, len(measured_along), squeeze=False)[0]
    for panel, along in zip(panels, measured_along, strict=True):
        for name in WORK:
            if (name, along) in found:
                panel.loglog(SIZES[along], found[name, along], marker="o", label=name)
        panel.set(xlabel=along, ylabel="processor time, s")
    figure.legend(list(WORK), loc="outside right")
    figure.savefig(PICTURE)
    return PICTURE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("along", nargs="*", default=list(SIZES), help=f"among {', '.join(SIZES)}")
    along_all = parser.parse_args().along
    table = Table("work", "against", "sizes", "seconds", "exponent", "MB above the start")
    found = {}
    for along in along_all:
        for name in WORK:
            sizes = SIZES[along]
            base = BASE.get(along, Size())
            results = [measured(name, dataclasses.replace(base, **{along: n})) for n in sizes]
            seconds, memory = ([each[i] for each in results] for i in (0, 1))
            found[name, along] = seconds
            table.add_row(
                name,
                along,
                " ".join(map(str, sizes)),
                " ".join(f"{value:.3g}" for value in seconds),
                f"{exponent(sizes, seconds):.2f}",
                " ".join(f"{value / 1e6:.0f}" for value in memory),
            )
    Console(width=150).print(table)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, picture: {draw(found)}")


if __name__ == "__main__":
    main()
