"""`make bench-service`: the service against the bare model, over loopback, with a real server.

The model is the published STConvS2S-R on a 32 x 32 grid, five frames in and five out, weights as drawn.
The bare model is `Forecaster.predict` in a process of its own with as many threads as the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.processes import memory, processor_seconds

N, FRAMES, LEADS, SIZE = 40, 5, 5, 32
BATCH = 8
PLACES = 34
"""Requests that a server has room for: two batches, the queue, and what is being read."""
KINDS = {"json": "application/json", "netcdf": "application/x-netcdf", "netcdf3": "application/x-netcdf"}


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
    from stconv.datasets.grid import GridSpec, canonicalize
    from stconv.datasets.preparation import Preparation
    from stconv.datasets.splits import Periods
    from stconv.datasets.store import load_series
    from stconv.datasets.windows import WindowSpec
    from stconv.models import STConvS2S

    series = load_series(*canonicalize(fields(N), variables=["t2m"]), ["t2m"], ["t2m"])
    preparation = Preparation.fit(series, range(30), scaling="zscore", inputs=("t2m",))
    datamodule = SimpleNamespace(
        series=series,
        periods=Periods(range(30), range(30, 35), range(35, N)),
        preparation=preparation,
        spec=WindowSpec.consecutive(FRAMES, LEADS),
        grid=GridSpec(),
        describe=lambda: {"hash": series.content_hash},
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


def bare(bundle: str, threads: int, seconds: float, answer: Any) -> None:
    """Median of one window, and windows a second in batches, of the model alone."""
    import torch

    from stconv.forecast import Forecaster

    torch.set_num_threads(threads)
    forecaster = Forecaster.from_path(bundle)
    found = {}
    for size in (1, BATCH):
        batch = {
            "inputs": torch.full((size, 1, FRAMES, SIZE, SIZE), 280.0),
            "input_cycles": torch.zeros(size, FRAMES, 3),
            "target_cycles": torch.zeros(size, LEADS, 3),
            "reference_index": torch.zeros(size, dtype=torch.int64),
        }
        forecaster.predict(batch)
        spent = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            forecaster.predict(batch)
            spent.append(time.perf_counter() - began)
        found[size] = spent
    answer.send((float(np.median(found[1])), BATCH * len(found[BATCH]) / sum(found[BATCH])))


def alone(bundle: Path, threads: int, seconds: float) -> tuple[float, float]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=bare, args=(str(bundle), threads, seconds, theirs)
    )
    process.start()
    found: tuple[float, float] = ours.recv()
    process.join()
    return found


class Service:
    """A server with the given settings, until the end of the block."""

    def __init__(self, bundle: Path, threads: int, **settings: str) -> None:
        environment = os.environ | {f"STCONV_SERVE_{key.upper()}": value for key, value in settings.items()}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "stconv",
                "serve",
                "--model",
                str(bundle),
                "--port",
                "0",
                "--threads",
                str(threads),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.match(r"^  http://127.0.0.1:(\d+)$", line):
                self.port = int(found[1])
            if "Ctrl-C" in line:
                break
        self.started = time.time()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def memory(self) -> float:
        return memory(self.process.pid)


class Client:
    """HTTP on one connection, as cheap as can be: a request made beforehand, an answer read to its length."""

    def __init__(self, port: int, kind: str, body: bytes) -> None:
        head = f"POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {KINDS[kind]}\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self) -> tuple[int, float]:
        """Status, and seconds from the first byte sent to the last received."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        began = time.perf_counter()
        try:
            self._writer.write(self._request)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"content-length: (\d+)", head)
            await self._reader.readexactly(int(length[1]) if length else 0)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            return 0, time.perf_counter() - began
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), time.perf_counter() - began

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def ask_on(port: int, kind: str, body: bytes, clients: int, seconds: float) -> list[tuple[int, float]]:
    """Clients that each ask again as soon as they are answered."""
    end = time.perf_counter() + seconds
    found: list[tuple[int, float]] = []

    async def one() -> None:
        client = Client(port, kind, body)
        while time.perf_counter() < end:
            found.append(await client.ask())
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


async def ask_at(port: int, kind: str, body: bytes, rate: float, seconds: float) -> list[tuple[int, float]]:
    """So many requests a second, whether or not earlier ones are answered."""
    found: list[tuple[int, float]] = []
    idle: list[Client] = []

    async def one() -> None:
        client = idle.pop() if idle else Client(port, kind, body)
        found.append(await client.ask())
        idle.append(client)

    began, tasks = time.perf_counter(), []
    for i in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + i / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return found


def seconds_of(found: list[tuple[int, float]], status: int) -> np.ndarray:
    return np.array([spent for code, spent in found if code == status] or [np.nan])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of the model, alone and served (default: 1)")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement (default: 8)")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="of the body")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="of saturation, for memory")
    args = parser.parse_args()
    sent = bodies()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "air"
        save_bundle(bundle)
        one, rate = alone(bundle, args.threads, args.seconds)
        say("bare model, one window", 1e3 * one, "ms")
        say(f"bare model, batches of {BATCH}", rate, "windows/s")
        with Service(bundle, args.threads) as service:
            for kind in args.kind:
                asyncio.run(ask_on(service.port, kind, sent[kind], 1, 2))  # warm
                found = asyncio.run(ask_on(service.port, kind, sent[kind], 1, args.seconds))
                say(
                    f"{kind}: added latency, median",
                    1e3 * (np.median(seconds_of(found, 200)) - one),
                    "ms",
                    "<= 5",
                )
            for kind in args.kind:
                saturate(service, kind, sent[kind], args.seconds, rate)
            overload(service, args.kind[0], sent[args.kind[0]], args.seconds)
            if args.soak:
                soak(service, args.kind[0], sent[args.kind[0]], args.soak)


def saturate(service: Service, kind: str, body: bytes, seconds: float, rate: float) -> None:
    before, client = processor_seconds(service.process.pid), time.process_time()
    found = asyncio.run(ask_on(service.port, kind, body, 2 * BATCH, seconds))
    client = time.process_time() - client
    n = sum(code == 200 for code, _ in found)
    say(f"{kind}: throughput over the bare batched model", n / seconds / rate, "", ">= 0.85")
    after = processor_seconds(service.process.pid)
    spent = {"client": client} | {who: after[who] - before[who] for who in after}
    text = ", ".join(f"{who} {1e3 * each / n:.1f}" for who, each in spent.items())
    print(f"  processor time of a request, ms: {text}; of the bare model {1e3 / rate:.1f}")


def overload(service: Service, kind: str, body: bytes, seconds: float) -> None:
    full = asyncio.run(ask_on(service.port, kind, body, PLACES, seconds))
    accepted = seconds_of(full, 200)
    before = service.memory()
    rate = 10 * len(accepted) / seconds
    found = asyncio.run(ask_at(service.port, kind, body, rate, seconds))
    say(f"{kind}: all {PLACES} places taken, 99 % within", 1e3 * np.percentile(accepted, 99), "ms")
    say(
        f"{kind}: 10 times that ({rate:.0f}/s), rejected, 99 % within",
        1e3 * np.percentile(seconds_of(found, 503), 99),
        "ms",
        "<= 50",
    )
    say(
        f"{kind}: 10 times that, accepted, 99 % within", 1e3 * np.percentile(seconds_of(found, 200), 99), "ms"
    )
    say(f"{kind}: memory after it over before", service.memory() / before, "", "1")
    print("  statuses", dict(Counter(code for code, _ in found)))


def soak(service: Service, kind: str, body: bytes, minutes: float) -> None:
    asyncio.run(ask_on(service.port, kind, body, 2 * BATCH, 20))
    before, failed, n = service.memory(), 0, 0
    end = time.time() + 60 * minutes
    while time.time() < end:
        found = asyncio.run(ask_on(service.port, kind, body, BATCH, 20))
        failed, n = failed + sum(code != 200 for code, _ in found), n + len(found)
        print(f"  {n} requests, {failed} failed, {service.memory():.0f} MB", flush=True)
    say(f"{kind}: memory after {minutes:g} minutes over before", service.memory() / before, "", "<= 1.05")


def say(what: str, value: float, unit: str, aim: str = "") -> None:
    print(f"{what:<64} {value:10.3g} {unit:<10} {aim}", flush=True)


if __name__ == "__main__":
    main()
