"""The model of the service's benchmark, what is sent to it, and the model alone: `Forecaster.predict`."""

from __future__ import annotations

import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import xarray as xr

from stconv.allocation import keep_freed_memory

N, FRAMES, LEADS, SIZE = 40, 5, 5, 32
BATCH = 8


def fields(n: int) -> xr.Dataset:
    values = 280 + np.random.default_rng(0).normal(0, 3, (n, SIZE, SIZE)).astype("f4")
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h"),
            "latitude": ("latitude", np.linspace(-8.0, 7.5, SIZE), {"units": "degrees_north"}),
            "longitude": ("longitude", np.linspace(280.0, 295.5, SIZE), {"units": "degrees_east"}),
        },
    )


def save_bundle(folder: Path) -> None:
    from stconv.bundle import make_bundle
    from stconv.datasets.preparation.preparation import Preparation
    from stconv.datasets.preparation.settings import PreparationSettings
    from stconv.datasets.series.splits import Periods
    from stconv.datasets.series.store import load_series
    from stconv.datasets.series.windows import WindowSpec
    from stconv.datasets.source.grid import GridSpec, canonicalize
    from stconv.datasets.summary import DataSummary
    from stconv.models import STConvS2S

    series = load_series(*canonicalize(fields(N), variables=["t2m"]), ["t2m"], ["t2m"])
    preparation = Preparation.fit(series, range(30), PreparationSettings(("t2m",)))
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(30), range(30, 35), range(35, N)),
        preparation=preparation,
        spec=WindowSpec.consecutive(FRAMES, LEADS),
        grid=GridSpec(),
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    network = STConvS2S(preparation.c_in, 1, FRAMES, LEADS)
    make_bundle(SimpleNamespace(network=network, preparation=preparation), datamodule, name="air").save(
        folder
    )


def bodies() -> dict[str, bytes]:
    ds = fields(FRAMES)
    document = {
        "time": np.datetime_as_string(ds["time"].values, unit="s").tolist(),
        "latitude": ds["latitude"].values.tolist(),
        "longitude": ds["longitude"].values.tolist(),
        "variables": {"t2m": {"units": "K", "values": ds["t2m"].values.round(2).astype(float).tolist()}},
    }
    return {
        "json": json.dumps(document).encode(),
        "netcdf": bytes(ds.to_netcdf(engine="h5netcdf")),
        "netcdf3": bytes(ds.to_netcdf(engine="scipy")),
    }


class Bare:
    """The model in a process of its own, kept, so that it can be measured by turns with the service.

    `keeping` memory it runs as in the service, so that what the service costs is seen without what it gains.
    """

    def __init__(self, bundle: Path, threads: int, keeping: bool = False) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_predict, args=(theirs, str(bundle), threads, keeping), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(10)

    def spent(self, windows: int, seconds: float = 0.0) -> list[float]:
        """Seconds of each batch of so many windows, for that long, at least one."""
        self._connection.send((windows, seconds))
        found: list[float] = self._connection.recv()
        return found


def _predict(connection: Connection, bundle: str, threads: int, keeping: bool) -> None:
    if keeping:
        keep_freed_memory()
    import torch

    from stconv.forecast import Forecaster

    torch.set_num_threads(threads)
    forecaster = Forecaster.from_path(bundle)
    while True:
        try:
            size, seconds = connection.recv()
        except EOFError:
            return
        batch = {
            "inputs": torch.full((size, 1, FRAMES, SIZE, SIZE), 280.0),
            "input_cycles": torch.zeros(size, FRAMES, 3),
            "target_cycles": torch.zeros(size, LEADS, 3),
            "reference_index": torch.zeros(size, dtype=torch.int64),
        }
        spent: list[float] = []
        end = time.perf_counter() + seconds
        while not spent or time.perf_counter() < end:
            began = time.perf_counter()
            forecaster.predict(batch)
            spent.append(time.perf_counter() - began)
        connection.send(spent)
