"""A real `stconv serve` in a process of its own, and a small bundle for it; conftest.py loads this file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import numpy as np
import xarray as xr

from waiting import LIMIT_SECONDS, until

if TYPE_CHECKING:
    from stconv.bundle import Bundle

N, TRAIN, T_IN, LEADS = 40, 30, 3, 2
LAT, LON = np.linspace(50.0, 36.0, 8), np.linspace(350.0, 368.0, 10) % 360  # falling; crosses Greenwich
START, STEP = np.datetime64("2020-01-01", "ns"), np.timedelta64(6, "h")
BODY_LIMIT, DECODED_LIMIT = 300_000, 1_000_000
PATIENT = {
    "deadline_seconds": "300",
    "hang_seconds": "600",
    "load_seconds": "300",
    "drain_seconds": "300",
    "parse_seconds": "120",
}
"""Limits that a slow, busy machine does not reach; a test of a limit sets its own."""
NETCDF, JSON, PROBLEM = "application/x-netcdf", "application/json", "application/problem+json"


def fields(n: int = N, seed: int = 0) -> xr.Dataset:
    """Temperature as a reanalysis writes it: latitude falling, longitude 0..360, two cells always missing."""
    rng = np.random.default_rng(seed)
    phase = 0.3 * np.arange(n)[:, None, None] + 0.5 * np.arange(10) + 0.2 * np.arange(8)[:, None]
    values = (280 + 8 * np.sin(phase) + rng.normal(0, 0.5, (n, 8, 10))).astype("float32")
    values[:, 0, :2] = np.nan
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K", "long_name": "temperature"})},
        {
            "time": START + np.arange(n) * STEP,
            "latitude": ("latitude", LAT, {"units": "degrees_north"}),
            "longitude": ("longitude", LON, {"units": "degrees_east"}),
        },
    )


def as_json(ds: xr.Dataset) -> dict:
    """The same fields as the body of a JSON request."""
    values = ds["t2m"].values.astype(object)
    values[np.isnan(ds["t2m"].values)] = None
    return {
        "time": np.datetime_as_string(ds["time"].values, unit="s").tolist(),
        "latitude": ds["latitude"].values.tolist(),
        "longitude": ds["longitude"].values.tolist(),
        "variables": {"t2m": {"units": "K", "values": values.tolist()}},
    }


def as_netcdf(ds: xr.Dataset, engine: str = "h5netcdf") -> bytes:
    """The same fields as a NetCDF file."""
    return bytes(ds.to_netcdf(engine=engine))


def save_bundle(folder: Path, ds: xr.Dataset | None = None) -> Path:
    """A small convolutional network with weights drawn once, not trained; for `fields()` or the like."""
    import torch

    from stconv.bundle import make_bundle
    from stconv.datasets.preparation.preparation import Preparation
    from stconv.datasets.preparation.settings import PreparationSettings
    from stconv.datasets.series.splits import Periods
    from stconv.datasets.series.store import load_series
    from stconv.datasets.series.windows import WindowSpec
    from stconv.datasets.source.grid import GridSpec, canonicalize
    from stconv.datasets.summary import DataSummary
    from stconv.models import Conv3D

    torch.manual_seed(0)
    spec = WindowSpec.consecutive(T_IN, LEADS)
    series = load_series(*canonicalize(fields() if ds is None else ds, variables=["t2m"]), ["t2m"], ["t2m"])
    preparation = Preparation.fit(series, range(TRAIN), PreparationSettings(("t2m",)))
    network = Conv3D(preparation.c_in, 1, T_IN, LEADS, n_layers=1, n_filters=2, kernel=3)
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(TRAIN), range(TRAIN, 35), range(35, N)),
        preparation=preparation,
        spec=spec,
        grid=GridSpec(),
        describe=lambda: DataSummary(hash=series.content_hash),
    )
    bundle = make_bundle(SimpleNamespace(network=network, preparation=preparation), datamodule, name="air")
    return bundle.save(folder)


def with_bands(bundle: Bundle) -> Bundle:
    """The same bundle with bands that get wider as the newest frames are unsettled."""
    import torch

    from stconv.uncertainty.bands import Bands

    bands = Bands(
        scale=torch.ones(1, LEADS, 8, 10),
        season=torch.ones(1, 1, 1, 8, 10),
        terms=((0, 0, 0),),
        typical_change=torch.ones(1),
        change_power=torch.full((1, LEADS), 0.5),
        spread=torch.zeros(1, LEADS),
        spread_power=torch.zeros(1, LEADS),
        quantiles=torch.tensor([[-1.0, 1.0], [-2.0, 2.0]])[..., None, None].expand(2, 2, 1, LEADS),
        lowest=torch.full((1,), -torch.inf),
        widening=torch.zeros(2, 1, LEADS),
        n_windows=5,
    )
    return replace(bundle, bands=bands)


class Server:
    """`stconv serve --port 0` with its own environment; `url` is known when it is ready."""

    def __init__(self, *arguments: str, ready: bool = True, **settings: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STCONV_SERVE_")}
        environment |= {f"STCONV_SERVE_{key.upper()}": value for key, value in (PATIENT | settings).items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stconv", "serve", "--port", "0", "--threads", "1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
        )
        self.url = ""
        self._lines: list[str] = []
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if ready:
            self._await_url()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with (
            self.process.stdout
        ):  # left open, its ResourceWarning fails whichever test runs when it is collected
            for line in self.process.stdout:
                self._lines.append(line)
        self._ended.set()

    def _await_url(self) -> None:
        try:
            until(
                lambda: self.process.poll() is not None or "Ctrl-C" in self.output, says=lambda: self.output
            )
            found = re.search(r"^  (http://\S+:\d+)$", self.output, re.MULTILINE)
            assert found, f"the server did not start:\n{self.output}"
        except AssertionError:
            self.kill()
            raise
        self.url = found[1]

    @property
    def output(self) -> str:
        """What it printed so far, both streams."""
        return "".join(self._lines)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=LIMIT_SECONDS, **options)

    def model_pid(self) -> int | None:
        """The process that the model runs in."""
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            if "Name:\tstconv-model\n" in text and f"PPid:\t{self.process.pid}\n" in text:
                return int(status.parent.name)
        return None

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it ended and all it printed is read."""
        status = self.process.wait(LIMIT_SECONDS)
        self._ended.wait(LIMIT_SECONDS)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
