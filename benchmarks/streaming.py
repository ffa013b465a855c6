"""Training from a Zarr store without a copy: the share of the steps that waits for data, and memory.

`python -m benchmarks.streaming` makes a store of 721 x 1440 cells and four variables, in chunks of one day,
and trains on it from the disk and from a web server that answers after 20 ms.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stconv.allocation import joining_freed_memory, keep_freed_memory
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.splits import SplitSpec
from stconv.datasets.series.store import available_bytes
from stconv.datasets.settings import LoadingSettings, SourceSettings, WindowSettings
from stconv.models import ResNet2D

NAMES = ("t2m", "msl", "u10", "v10")
STEPS_A_DAY, STRIDE = 4, 2
"""Every second window is trained on, so that a step pays for half a day of the store."""
LATENCY_SECONDS = 0.02
MEBIBYTE = 2**20


def make_store(path: Path, n_days: int, rows: int, columns: int) -> None:
    """Write smooth fields with noise of a resolution that compresses about as reanalyses do."""
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(90, -90, rows), np.arange(columns) * 360 / columns
    base = (280 + 20 * np.cos(np.radians(lat)))[:, None] + 5 * np.sin(np.radians(3 * lon))
    for day in range(n_days):
        shape = (STEPS_A_DAY, rows, columns)
        time_ = np.datetime64("2001-01-01", "ns") + (day * STEPS_A_DAY + np.arange(STEPS_A_DAY)) * (
            np.timedelta64(24 // STEPS_A_DAY, "h")
        )
        fields = {
            name: (
                ("time", "lat", "lon"),
                (base + rng.integers(-64, 64, shape) / 32).astype("f4"),
                {"units": "K"},
            )
            for name in NAMES
        }
        axes = {
            "time": time_,
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        }
        ds = xr.Dataset(fields, axes)
        if day == 0:
            chunks = {name: {"chunks": shape} for name in NAMES}
            times = {"time": {"units": "hours since 2001-01-01", "chunks": (10_000,)}}
            ds.to_zarr(path, zarr_format=2, encoding=chunks | times, consolidated=True)
        else:
            ds.to_zarr(path, append_dim="time", consolidated=True)


def serve(folder: str, connection: Connection) -> None:
    """Serve a folder with latency, in a process of its own, until told to stop."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from range_server import serving

    with serving(Path(folder)) as server:
        server.latency_seconds = LATENCY_SECONDS
        connection.send(server.url)
        connection.recv()


def train(source: str, held_mebibytes: int) -> None:
    """Train for an epoch, and print what waited and what memory it took."""
    keep_freed_memory(None)  # as `stconv fit` does
    start = time.perf_counter()
    data = GridDataModule(
        SourceSettings(source, memory_share=2 * held_mebibytes * MEBIBYTE / available_bytes()),
        PreparationSettings(NAMES, scaling="zscore"),
        WindowSettings(t_in=2, leads=1, stride=STRIDE),
        SplitSpec(fractions=[0.8, 0.1, 0.1], purge=0),
        LoadingSettings(batch_size=1),
        cache="never",
    )
    data.setup()
    setup_seconds = time.perf_counter() - start
    torch.manual_seed(0)
    network = ResNet2D(4, 4, 2, 1, n_filters=8, dilations=[1], norm="layer")
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    loader = data.train_dataloader()
    waits, steps, memory = [], [], []
    before, processor = time.perf_counter(), time.process_time()
    for batch in loader:
        waits.append(time.perf_counter() - before)
        target, weight = data.preparation.targets(batch)
        found = network(data.preparation.inputs(batch))
        optimizer.zero_grad()
        ((found - target) ** 2 * weight).mean().backward()
        optimizer.step()
        memory.append(resident_bytes() / MEBIBYTE)
        steps.append(time.perf_counter() - before)
        before = time.perf_counter()
    third = len(memory) // 3
    print(
        f"{source}: {len(steps)} steps of {np.median(steps):.2f} s (median), "
        f"{(time.process_time() - processor) / len(steps):.2f} s of the processor; waited "
        f"{sum(waits[1:]) / sum(steps[1:]):.2%} of the steps, {sum(waits) / sum(steps):.2%} with the first "
        f"({waits[0]:.2f} s); longest later wait {max(waits[1:]):.2f} s; memory in the thirds of the epoch "
        f"{', '.join(f'{max(memory[k * third : (k + 1) * third]):.0f}' for k in range(3))} MiB at most; "
        f"series of {data.series.values.nbytes / MEBIBYTE:.0f} MiB; statistics before it "
        f"{setup_seconds:.0f} s",
        flush=True,
    )


def resident_bytes() -> int:
    """Resident memory of this process."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def main() -> None:
    """Run both cases, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--days", type=int, default=14, help="days of the store (default: %(default)s)")
    parser.add_argument("--grid", type=int, nargs=2, default=(721, 1440), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--held", type=int, default=400, help="MiB for blocks (default: %(default)s)")
    parser.add_argument("--only", choices=("disk", "web"), help="one of the two sources")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    os.environ.update(joining_freed_memory(os.environ))  # as `stconv fit` does
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder) / "store.zarr", arguments.days, *arguments.grid)
        here, there = context.Pipe()
        server = context.Process(target=serve, args=(folder, there))
        server.start()
        try:
            sources = {"disk": f"{folder}/store.zarr", "web": f"{here.recv()}/store.zarr"}
            for name in [arguments.only] if arguments.only else sources:
                process = context.Process(target=train, args=(sources[name], arguments.held))
                process.start()
                process.join()
        finally:
            here.send("stop")
            server.join()


if __name__ == "__main__":
    main()
