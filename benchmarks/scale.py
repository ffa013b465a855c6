"""`make bench-scale`: time and memory against cells, steps, variables, leads and files, with exponents.

Every measurement runs in a child process of its own, on one thread: time of its processor, and the memory
that it takes above its start. The exponent is that between the two largest sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import resource
import shutil
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

from service.formats.writers import WRITERS
from service.media_types import NETCDF
from service.model.upload import stored_dataset
from service.uploads.netcdf_upload import parse_netcdf
from stconv.allocation import keep_freed_memory
from stconv.bundle import make_bundle
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.datasets.source.grid import GridSpec, open_series, restore
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
WARM = 2
"""Steps, forecasts or answers that are not counted: the first ones take their memory from the system."""
PICTURE = Path(__file__).with_name("scale.png")
MANY_STEPS = 300_000
"""A series of so many steps is hourly instead of six-hourly."""


@dataclass(frozen=True)
class Size:
    """A problem: rows and columns are the root of the cells."""

    cells: int = 1024
    steps: int = 120
    variables: int = 1
    leads: int = 5
    files: int = 1


SIZES = {
    "cells": [32**2, 64**2, 128**2, 256**2, 512**2, 1024**2],
    "steps": [200, 2000, 20_000, 200_000, 1_000_000],
    "variables": [1, 5, 20],
    "leads": [1, 10, 40],
    "files": [1, 10, 100, 1000, 10_000],
}
BASE = {
    "cells": Size(steps=90),
    "steps": Size(cells=16),
    "files": Size(cells=16, steps=20_000),
    "leads": Size(cells=256, steps=600),
}
LONGEST_SECONDS = 60.0
"""A size is left out where the work is expected to take longer."""
REPEATED_SECONDS = 1.0
"""Shorter work is done three times, in fresh processes, and the quickest counts."""


def archive(folder: Path, size: Size) -> list[str]:
    """Write the files of a problem, or find those of an earlier work."""
    side = math.isqrt(size.cells)
    there = sorted(str(path) for path in folder.glob("*.nc"))
    if len(there) == size.files:
        return there
    hours = 6 if size.steps < MANY_STEPS else 1  # nanoseconds count no further than the year 2262
    times = np.datetime64("1990-01-01", "ns") + np.arange(size.steps) * np.timedelta64(hours, "h")
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
        encoding = {"time": {"units": "hours since 1990-01-01"}}
        xr.Dataset(fields, axes).to_netcdf(paths[-1], engine="h5netcdf", encoding=encoding)
    return paths


def prepared(files: Path, size: Size) -> tuple[GridDataModule, ForecastTask, list[str]]:
    paths, names = archive(files, size), tuple(f"v{k}" for k in range(size.variables))
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


def inspect(files: Path, _: Path, size: Size) -> Callable[[], int]:
    paths = archive(files, size)
    return lambda: len(describe(paths, t_in=FRAMES, leads=size.leads)[0].variables)


def fit(files: Path, _: Path, size: Size) -> Callable[[], int]:
    data, task, _ = prepared(files, size)
    windows = WindowDataset(data.series, data.spec, data.references["train"])
    optimizer = torch.optim.AdamW(task.network.parameters())
    task._trainer = SimpleNamespace(datamodule=data)

    def steps(first: int = WARM, n: int = 2) -> int:
        for start in range(first, first + n):
            optimizer.zero_grad()
            task.loss_of(windows.batch(range(start, start + BATCH))).backward()
            optimizer.step()
        return n

    steps(0, WARM)
    return steps


def test(files: Path, _: Path, size: Size) -> Callable[[], int]:
    data, task, _ = prepared(files, size)
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


def forecast(files: Path, own: Path, size: Size) -> Callable[[], int]:
    data, task, paths = prepared(files, size)
    forecaster = Forecaster.from_path(bundle_of(own, data, task))
    ds, origin = open_series(paths, GridSpec(), forecaster.names)

    def made() -> int:
        return len(forecaster.forecast(ds, origin=origin).data_vars) and 1

    for _ in range(WARM):
        made()
    return made


def hindcast(files: Path, own: Path, size: Size) -> Callable[[], int]:
    data, task, paths = prepared(files, size)
    bundle = bundle_of(own, data, task)
    stride = max((size.steps - FRAMES) // N_WINDOWS, 1)
    wish = Wish(bundle, None, paths, GridSpec(), own / "h.zarr", stride=stride)
    plan = Plan(wish, Means(0, 2**31, 1))

    def computed() -> int:
        return run_hindcast(plan, shown=False).made

    return computed


def service(files: Path, own: Path, size: Size) -> Callable[[], int]:
    """The work of a request in the processes of parser and model, without HTTP."""
    data, task, paths = prepared(files, size)
    forecaster = Forecaster.from_path(bundle_of(own, data, task))
    ds, origin = open_series(paths, GridSpec(), forecaster.names)
    body = bytes(restore(ds.isel(time=slice(-FRAMES, None)).load(), origin).to_netcdf(engine="h5netcdf"))

    def answered() -> int:
        stored = stored_dataset(parse_netcdf(body, 2**31))
        found, where = forecaster.open_stored(stored)
        return len(WRITERS[NETCDF](forecaster.forecast(found, origin=where))) and 1

    for _ in range(WARM):
        answered()
    return answered


WORK = {
    "inspect": inspect,
    "fit, a step": fit,
    "test": test,
    "forecast": forecast,
    "hindcast": hindcast,
    "service, an upload": service,
}
WHOLE = {"inspect", "test"}
"""Work that is counted as a whole; the others count a step or a forecast."""


def measured(name: str, size: Size, files: Path) -> tuple[float, float]:
    """Seconds, and bytes above the start of the work."""
    found = [_once(name, size, files)]
    while len(found) < 3 and found[0][0] < REPEATED_SECONDS:
        found.append(_once(name, size, files))
    return min(found)


def _once(name: str, size: Size, files: Path) -> tuple[float, float]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(theirs, name, size, files))
    process.start()
    theirs.close()
    try:
        found: tuple[float, float] = ours.recv()
    finally:
        process.join()
    return found


def _child(connection: Any, name: str, size: Size, files: Path) -> None:
    torch.set_num_threads(1)
    keep_freed_memory(None)  # as the commands do
    with tempfile.TemporaryDirectory() as own:
        work = WORK[name](files, Path(own), size)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        n = work()
        seconds = time.process_time() - began
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    connection.send((seconds if name in WHOLE else seconds / n, 1024.0 * more))


Found = dict[tuple[str, str], list[tuple[int, float, float]]]
"""Size, seconds and bytes by work and by what grows."""


def measure(names: list[str], along: str, sizes: list[int], folder: Path) -> Found:
    """Measure along one direction, size by size, as far as the work is short enough."""
    found: Found = {(name, along): [] for name in names}
    for n in sizes:
        size = dataclasses.replace(BASE.get(along, Size()), **{along: n})
        files = folder / f"{along}_{n}"
        for name in names:
            points = found[name, along]
            if not points or points[-1][1] * n / points[-1][0] <= LONGEST_SECONDS:
                files.mkdir(exist_ok=True)
                archive(files, size)
                points.append((n, *measured(name, size, files)))
                print(name, along, points[-1], flush=True)
        shutil.rmtree(files, ignore_errors=True)
    return found


def exponent(points: list[tuple[int, float, float]]) -> float:
    """Exponent of the time between the two largest sizes."""
    if len(points) < 2 or min(seconds for _, seconds, _ in points[-2:]) <= 0:
        return math.nan
    (small, short, _), (large, long, _) = points[-2:]
    return math.log(long / short) / math.log(large / small)


def draw(found: Found) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(18, 3.6), layout="constrained", dpi=100)
    along_all = list(dict.fromkeys(along for _, along in found))
    panels = figure.subplots(1, len(along_all), squeeze=False)[0]
    for panel, along in zip(panels, along_all, strict=True):
        for name in WORK:
            points = found.get((name, along), [])
            panel.loglog([p[0] for p in points], [p[1] for p in points], marker="o", label=name)
        panel.set(xlabel=along, ylabel="processor time, s")
    figure.legend(list(WORK), loc="outside right")
    figure.savefig(PICTURE)
    return PICTURE


def kept(path: Path) -> Found:
    """Results of earlier runs."""
    if not path.exists():
        return {}
    return {(name, along): points for name, along, points in json.loads(path.read_text())}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("along", nargs="*", default=list(SIZES), help=f"among {', '.join(SIZES)}")
    parser.add_argument("--work", action="append", choices=list(WORK), help="repeatable; default: all")
    parser.add_argument("--sizes", nargs="*", type=int, help="of one direction (default: all)")
    parser.add_argument("--with", dest="others", type=Path, help="file of results: joined to, and added")
    arguments = parser.parse_args()
    found = kept(arguments.others) if arguments.others else {}
    with tempfile.TemporaryDirectory() as folder:
        for along in arguments.along:
            sizes = arguments.sizes or SIZES[along]
            for key, points in measure(arguments.work or list(WORK), along, sizes, Path(folder)).items():
                both = {point[0]: point for point in [*found.get(key, []), *points]}
                found[key] = [both[n] for n in sorted(both)]
            if arguments.others:
                arguments.others.write_text(json.dumps([[*key, points] for key, points in found.items()]))
    table = Table("work", "against", "sizes", "seconds", "exponent", "MB above the start")
    for along in SIZES:
        for name in WORK:
            points = found.get((name, along), [])
            if points:
                columns = zip(*points, strict=True)
                sizes, seconds, memory = (list(column) for column in columns)
                table.add_row(
                    name,
                    along,
                    " ".join(map(str, sizes)),
                    " ".join(f"{value:.3g}" for value in seconds),
                    f"{exponent(points):.2f}",
                    " ".join(f"{value / 1e6:.0f}" for value in memory),
                )
    Console(width=150).print(table)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, picture: {draw(found)}")


if __name__ == "__main__":
    main()
