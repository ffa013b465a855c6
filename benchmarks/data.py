"""The data layer against plain NumPy: windows per second, building the cache, a pass over a store."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks.limits import interleaved
from benchmarks.networks import SIZES, training_step
from stconv.datasets.preparation.preparation import Preparation
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.series.cache import cached
from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.series.store import Series
from stconv.datasets.series.windows import WindowSpec, reference_indices
from stconv.datasets.source.time_axis import TimeStep
from stconv.models import STConvS2S
from stconv.nn.memory import channels_last

SPEC = WindowSpec.consecutive(5, 5)
MEBIBYTE = 2**20
BATCH = 15


def rows(large: bool = False) -> list[dict[str, Any]]:
    """Rows {name, value, unit, target}; `large` adds a pass over a store of 4.5 GB."""
    return [windows_row(), share_row(), cache_row(), *([large_row()] if large else [])]


def windows_row() -> dict[str, Any]:
    """Windows per second of `WindowDataset` in batches, as a share of slicing and stacking with NumPy."""
    series = _series(np.random.default_rng(0).normal(size=(2000, 1, 32, 32)).astype(np.float32))
    references = reference_indices(range(len(series)), SPEC)
    order = np.random.default_rng(1).permutation(references).tolist()
    dataset = WindowDataset(series, SPEC, order)
    values = series.values

    def ours() -> None:
        for k in range(0, len(order), BATCH):
            dataset.batch(range(k, min(k + BATCH, len(order))))

    def plain() -> None:
        for k in range(0, len(order), BATCH):
            np.stack([values[i - 4 : i + 1].swapaxes(0, 1) for i in order[k : k + BATCH]])
            np.stack([values[i + 1 : i + 6].swapaxes(0, 1) for i in order[k : k + BATCH]])

    seconds = interleaved({"ours": ours, "plain": plain})
    return _row("windows, share of NumPy slicing", seconds["plain"] / seconds["ours"], ">= 0.6")


def share_row() -> dict[str, Any]:
    """Share of a training step at the CFSR size that goes into cutting and preparing its batch."""
    series = _series(np.random.default_rng(0).normal(size=(600, 1, 32, 32)).astype(np.float32))
    references = reference_indices(range(len(series)), SPEC)
    dataset = WindowDataset(series, SPEC, np.random.default_rng(1).permutation(references).tolist())
    preparation = Preparation.fit(series, range(400), PreparationSettings(series.variables))
    torch.manual_seed(0)
    settings = {key: value for key, value in SIZES["CFSR"].items() if key != "grid"}
    network = channels_last(STConvS2S(1, 1, 5, 5, variant="R", alignment="paper", **settings))
    step = training_step(network, torch.randn(BATCH, 1, 5, 32, 32), torch.randn(BATCH, 1, 5, 32, 32))

    def data() -> None:
        batch = dataset.batch(range(BATCH))
        preparation.inputs(batch)
        preparation.targets(batch)

    seconds = interleaved({"data": data, "step": step})
    share = seconds["data"] / (seconds["data"] + seconds["step"])
    return _row("share of a training step, CFSR, batch 15", share, "<= 0.03")


def cache_row() -> dict[str, Any]:
    """Cache building (decode, check, hash, write) as a share of a bare decode of the same packed file."""
    n_steps, block = 900, 150
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "packed.nc"
        times = np.datetime64("2000-01-01", "ns") + np.arange(n_steps) * np.timedelta64(6, "h")
        field = np.random.default_rng(0).normal(280, 10, (n_steps, 128, 256)).astype(np.float32)
        lat, lon = np.linspace(-88, 88, 128), np.arange(256) * 1.4
        ds = xr.Dataset({"t": (("time", "lat", "lon"), field)}, {"time": times, "lat": lat, "lon": lon})
        packed = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32767}
        ds.to_netcdf(file, encoding={"t": {**packed, "zlib": True, "chunksizes": (50, 128, 256)}})
        n = 0

        def decode() -> None:
            with xr.open_dataset(file) as opened:
                for start in range(0, n_steps, block):
                    opened["t"][start : start + block].load()

        def build() -> None:
            nonlocal n
            n += 1
            with xr.open_dataset(file) as opened:
                array = opened["t"]
                cached(
                    Path(folder),
                    f"run{n}",
                    (n_steps, 1, 128, 256),
                    lambda start, stop: array[start:stop].values[:, None],
                    [*range(0, n_steps, block), n_steps],
                    progress=False,
                )
            (Path(folder) / f"run{n}.f32").unlink()

        seconds = interleaved({"decode": decode, "build": build}, rounds=8)
    return _row("cache building, share of a bare decode", seconds["decode"] / seconds["build"], ">= 0.7")


def large_row(n_steps: int = 4300) -> dict[str, Any]:
    """Resident memory gained by a pass over all windows of a store of 4.5 GB, in MiB."""
    shape = (n_steps, 1, 512, 512)
    with tempfile.TemporaryDirectory() as folder:
        frame = np.random.default_rng(0).normal(size=shape[1:]).astype(np.float32)
        values, digest = cached(
            Path(folder),
            "large",
            shape,
            lambda start, stop: np.repeat(frame[None], stop - start, axis=0),
            [*range(0, n_steps, 50), n_steps],
        )
        dataset = WindowDataset(_series(values, digest), SPEC, reference_indices(range(n_steps), SPEC))
        before, most = _resident(), 0
        start = time.perf_counter()
        for k in range(len(dataset)):
            _ = dataset[k]["inputs"]
            most = max(most, _resident()) if k % 20 == 0 else most
        rate = len(dataset) / (time.perf_counter() - start)
    row = _row(f"resident memory of a pass over {4 * np.prod(shape) / 1e9:.1f} GB", 0.0, "< 1024")
    return row | {"value": (most - before) / MEBIBYTE, "unit": "MiB", "windows_per_second": rate}


def _series(values: np.ndarray, digest: str = "") -> Series:
    n, _, n_lat, n_lon = values.shape
    times = np.datetime64("2000-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    return Series(
        values=values,
        times=times,
        variables=("t",),
        n_targets=1,
        units={"t": "K"},
        lat=np.linspace(-80, 80, n_lat),
        lon=np.arange(float(n_lon)),
        geographic=True,
        step=TimeStep("fixed", seconds=21600),
        values_hash=digest,
    )


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _row(name: str, value: float, target: str) -> dict[str, Any]:
    return {"name": f"data: {name}", "value": value, "unit": "ratio", "target": target}
