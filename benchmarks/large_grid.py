"""A model trained on crops serves a quarter-degree grid: memory of all processes of the service, and time.

Memory is the proportional set size (PSS), in which a page that several processes share counts once. With
`--limit` the service runs in a control group that gives it no more; this needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import xarray as xr

from benchmarks.processes import memory
from benchmarks.streaming import MEBIBYTE
from stconv.bundle import make_bundle
from stconv.client import Client
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.losses import MaskedMSE
from stconv.models import UNet
from stconv.task import ForecastTask

FRAMES, LEADS, STEPS, CROP = 5, 5, 40, 128
LIMIT_BYTES = 4 * 2**30
GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.peak"),
)
"""Control groups of memory, version 1 and 2: their root, and the files of the limit and of the peak."""


def archive(path: Path, rows: int, columns: int) -> xr.Dataset:
    values = 280 + np.random.default_rng(0).normal(0, 3, (STEPS, rows, columns)).astype("f4")
    ds = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(STEPS) * np.timedelta64(6, "h"),
            "lat": ("lat", np.linspace(-90, 90, rows), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(columns) * 360 / columns, {"units": "degrees_east"}),
        },
    )
    ds.to_netcdf(path)
    return ds.isel(time=slice(-FRAMES, None))


def train(path: Path, bundle: Path) -> int:
    """Train a few steps on crops, save the bundle, and return the number of parameters."""
    data = GridDataModule(
        SourceSettings(str(path)),
        PreparationSettings(("t2m",)),
        WindowSettings(FRAMES, LEADS, crop=[CROP, CROP]),
        SplitSpec(fractions=[0.5, 0.25, 0.25], purge=0),
        loading=LoadingSettings(batch_size=4),
    )
    data.setup()
    torch.manual_seed(0)
    network = UNet(data.c_in, data.c_out, FRAMES, LEADS, n_filters=16, n_levels=2, norm="batch")
    task = ForecastTask(network, MaskedMSE())
    trainer = pl.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        log_every_n_steps=1,
    )
    trainer.fit(task, datamodule=data)
    task.network.eval()
    make_bundle(task, data, name="large").save(bundle)
    return sum(p.numel() for p in network.parameters())


@contextlib.contextmanager
def limited(n_bytes: int) -> Iterator[list[str]]:
    """Make a control group, give the words that start a command in it, and print its peak at the end."""
    root, limit, peak = next(found for found in GROUPS if (found[0] / "cgroup.procs").exists())
    group = root / f"stconv{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(n_bytes))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        most = int((group / peak).read_text())
        print(f"in a group of {n_bytes / MEBIBYTE:.0f} MiB, {most / MEBIBYTE:.0f} at most, with cached files")
    finally:
        group.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_grid", description=__doc__)
    parser.add_argument("--grid", type=int, nargs=2, default=(721, 1440), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--limit", type=float, metavar="GIB", help="memory that the service is given")
    arguments = parser.parse_args()
    rows, columns = arguments.grid
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        within = stack.enter_context(limited(int(arguments.limit * 2**30))) if arguments.limit else []
        path, bundle = Path(folder) / "archive.nc", Path(folder) / "bundle"
        window = archive(path, rows, columns)
        n_parameters = train(path, bundle)
        seconds = ("DEADLINE", "HANG", "LOAD", "PARSE", "BODY", "ANSWER")
        environment = os.environ | {f"STCONV_SERVE_{name}_SECONDS": "600" for name in seconds}
        command = [
            *within,
            sys.executable,
            "-m",
            "stconv",
            "serve",
            "--port",
            "0",
            "--threads",
            "1",
            "--model",
            str(bundle),
        ]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        try:
            report(server, window, f"{rows} x {columns} cells, {n_parameters / 1e6:.2f} million parameters")
        finally:
            server.terminate()
            server.wait()


def report(server: subprocess.Popen[str], window: xr.Dataset, title: str) -> None:
    """Ask for a forecast, and print the highest memory and the time."""
    assert server.stdout is not None
    url = None
    while url is None:
        line = server.stdout.readline()
        if not line:
            raise SystemExit("The service did not start.")
        url = re.match(r"^  (http://\S+:\d+)$", line)
    threading.Thread(target=server.stdout.read, daemon=True).start()
    peaks, done = [memory(server.pid)], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peaks.append(memory(server.pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with Client(url[1], timeout_seconds=600) as client:
            began = time.perf_counter()
            found = client.forecast(window)
            seconds = time.perf_counter() - began
    finally:
        done.set()
        watching.join()
    rest, most, after = (1e6 * n / MEBIBYTE for n in (peaks[0], max(peaks), memory(server.pid)))
    print(
        f"{title}: {rest:.0f} MiB at rest, at most {most:.0f} MiB, afterwards {after:.0f} MiB "
        f"(aim: at most {LIMIT_BYTES / MEBIBYTE:.0f}); "
        f"{seconds:.1f} s for {len(found.lead)} leads, {window.t2m.nbytes / MEBIBYTE:.0f} MiB sent"
    )


if __name__ == "__main__":
    main()
