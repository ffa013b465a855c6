"""A small model and a small archive for tests of hindcasts."""

from pathlib import Path
from types import SimpleNamespace

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
from stconv.models import Conv3D

N = 60


def fields(n: int) -> xr.Dataset:
    values = np.random.default_rng(0).normal(280, 5, (n, 4, 6)).astype("float32")
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h"),
            "latitude": ("latitude", np.linspace(50, 44, 4), {"units": "degrees_north"}),
            "longitude": ("longitude", np.linspace(200, 210, 6), {"units": "degrees_east"}),
        },
    )


def save_bundle(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    series = load_series(*canonicalize(fields(N)), ["t2m"])
    preparation = Preparation.fit(series, range(30), PreparationSettings(("t2m",)))
    network = Conv3D(preparation.c_in, 1, 3, 2, n_layers=1, n_filters=2, kernel=3)
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(30), range(30, 40), range(40, N)),
        preparation=preparation,
        spec=WindowSpec.consecutive(3, 2),
        grid=GridSpec(),
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    task = SimpleNamespace(network=network, preparation=preparation)
    return make_bundle(task, datamodule, name="air").save(folder)


def slow_store(seconds: float) -> str:
    """Code of a module after whose import a store takes so much longer for a chunk."""
    return f"""
import time
from stconv.hindcasts.store import Store
write = Store.write

def slowly(*arguments):
    time.sleep({seconds})
    write(*arguments)

Store.write = slowly
"""
