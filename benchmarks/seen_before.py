"""`python -m benchmarks.seen_before`: does a network learn faster that has seen other fields before?

A U-Net is trained on made fields (advection, diffusion, waves, cycles, showers, counts, gaps, land; many
grids and steps) and on the training periods of half of the real series, each around a linear start of its
own. It is then trained on the real series of the other half, whole and cut short, beside the same
network from scratch: same recipe, same minutes of the processor. The validation error decides; the test
period is not read. One file per training is written; what is there already is not repeated.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml

from benchmarks.equal_time import CLIP, LR, WEIGHT_DECAY, normalized, train
from benchmarks.varied_series import SERIES, advected, part
from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.series.dataset import WindowDataset
from stconv.losses import MaskedMSE
from stconv.models import Network, build
from stconv.optimizers import Muon
from stconv.schedules import WarmupCosine

HALVES = ({"air": 9, "trips": 9}, {"sea_surface": 2, "one_month": 9})
"""Real series, and the share that each is cut to: a ninth, a half where a ninth is too short. A network that
is tried on one half has seen the other."""
N_MADE = 12
"""Number of made series that every network has seen."""
T_IN, LEADS, BATCH = 5, 5, 16
UNET = {"n_levels": 3, "n_filters": 32, "growth": 1.5, "n_blocks": 2, "dropout": 0.2}
FINE_TUNING = 1
"""Minutes of training on the series under test, unless told otherwise."""


def made(seed: int) -> xr.Dataset:
    """A made series of one variable: advected and diffused anomalies, cycles, and by chance land, gaps,
    showers or counts."""
    rng = np.random.default_rng(1000 + seed)
    n, rows, columns = 900, int(rng.integers(14, 30)), int(rng.integers(14, 34))
    wind = (float(rng.normal(0, 0.5)), float(rng.normal(0, 0.8)))
    memory, length = float(rng.uniform(0.8, 0.99)), float(rng.uniform(1.5, 5))
    values = advected(rng, n, rows, columns, memory=memory, wind=wind, length=length, noise=0.1)
    t, y, x = np.ogrid[:n, :rows, :columns]
    phase = float(rng.uniform(0.05, 0.4)) * t - float(rng.normal(0, 0.5)) * x - float(rng.normal(0, 0.3)) * y
    values = values + float(rng.uniform(0, 1)) * np.sin(phase)
    step = int(rng.choice([1, 3, 6, 24]))
    values = values + float(rng.uniform(0, 1.5)) * np.cos(2 * np.pi * step * t / 24)
    kind = seed % 3
    if kind == 1:
        values = np.maximum(0, values - 0.8) ** 1.3
    elif kind == 2:
        values = rng.poisson(np.exp(0.5 * values)).astype(float)
    if seed % 4 == 3:
        values[:, 2 : rows // 3, 2 : columns // 3] = np.nan
    times = np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(step, "h")
    keep = np.sort(rng.permutation(n)[: n * 9 // 10]) if seed % 4 == 2 else np.arange(n)
    coords = {"time": times, "lat": 20.0 + np.arange(rows), "lon": 5.0 + np.arange(columns)}
    ds = xr.Dataset({"made": (("time", "lat", "lon"), values.astype("f4"))}, coords)
    return ds.isel(time=keep)


def problem(ds: xr.Dataset, folder: Path) -> GridDataModule:
    """The data of the suggested experiment on the first variable, with the same channels for every series."""
    import stconv
    from stconv.experiments.trained_model import load_data

    name = next(iter(ds.data_vars))
    series, file = folder / f"{time.monotonic_ns()}.nc", folder / "experiment.yaml"
    ds[[name]].drop_encoding().to_netcdf(series)
    stconv.suggest(series, inputs=[str(name)], t_in=T_IN, leads=LEADS).to_yaml(file)
    config = yaml.safe_load(file.read_text())
    config["data"]["preparation"] |= {
        "impute": "persistence", "mask_channel": True, "static_fields": ["position", "climate"],
        "weekly_cycle": False, "bounds": {},
    }  # fmt: skip
    config["data"]["loading"]["batch_size"] = BATCH
    file.write_text(yaml.safe_dump(config))
    data = load_data(file)
    data.setup("fit")
    return data


def around(inner: Network, data: GridDataModule) -> Network:
    """The network around the linear start of a series."""
    start = build({"name": "LinearResidual", "arguments": {
        "network": network_for(data), "grid": list(data.series.values.shape[-2:]), "neighbors": True,
    }})  # fmt: skip
    start.network = inner
    return start


def network_for(data: GridDataModule) -> dict[str, Any]:
    """Specification of the U-Net."""
    sizes = {"c_in": data.c_in, "c_out": 1, "t_in": T_IN, "leads": LEADS}
    return {"name": "UNet", "arguments": {**sizes, **UNET}}


def seen(problems: list[GridDataModule], minutes: float) -> Network:
    """Train a network on several series, each step on a batch of one of them."""
    torch.manual_seed(0)
    inner = build(network_for(problems[0]))
    wrapped = [around(inner, data) for data in problems]
    for network, data in zip(wrapped, problems, strict=True):
        for one in network.parts():
            one.before_training(partial(normalized, data, "train"), partial(normalized, data, "val"))
    windows = [WindowDataset(data.series, data.spec, data.references["train"]) for data in problems]
    optimizer = Muon(list(inner.parameters()), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule, loss = WarmupCosine(optimizer), MaskedMSE()
    schedule.follow(10_000)
    averaged, steps, began = copy.deepcopy(inner), 0, time.process_time()
    budget = 60 * minutes * torch.get_num_threads()
    while (share := (time.process_time() - began) / budget) < 1:
        i = int(torch.randint(len(problems), ()))
        batch = windows[i].batch(torch.randint(len(windows[i]), (BATCH,)).tolist())
        optimizer.param_groups[0]["lr"] = LR * schedule.factor(int(10_000 * share))
        optimizer.zero_grad()
        preparation = problems[i].preparation
        loss(wrapped[i].train()(preparation.inputs(batch)), *preparation.targets(batch)).backward()
        torch.nn.utils.clip_grad_norm_(inner.parameters(), CLIP)
        optimizer.step()
        steps += 1
        with torch.no_grad():
            for mean, new in zip(averaged.parameters(), inner.parameters(), strict=True):
                mean.lerp_(new, 1 - min(0.99, (1 + steps) / (10 + steps)))
    print(f"seen: {len(problems)} series, {steps} steps", flush=True)
    return averaged


def trials(minutes: float, before: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Train with and without what was seen, on every real series, whole and cut to a ninth."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        shared = None
        for i, half in enumerate(HALVES):
            cases = [(name, share) for name, few in half.items() for share in (1, few)]
            if all((folder / f"{name}_{share}_{minutes:g}.json").exists() for name, share in cases):
                continue
            shared = shared or [problem(made(seed), place) for seed in range(N_MADE)]
            others = [problem(SERIES[name](), place) for name in HALVES[1 - i]]
            inner = seen([*shared, *others], before)
            for name, share in cases:
                data = problem(part(SERIES[name](), share), place)
                found: dict[str, Any] = {"series": name, "share": share, "minutes": minutes, "before": before}
                for label in ("scratch", "seen"):
                    torch.manual_seed(1)
                    own = build(network_for(data)) if label == "scratch" else copy.deepcopy(inner)
                    curve = list(train(around(own, data), data, minutes))
                    found[label] = [{"minutes": at, "rmse": error} for at, error, _ in curve]
                (folder / f"{name}_{share}_{minutes:g}.json").write_text(json.dumps(found, indent=1))
                yield found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seen_before", description=__doc__)
    parser.add_argument("--minutes", type=float, default=FINE_TUNING, help="on each series under test")
    parser.add_argument("--before", type=float, default=10, help="minutes on the series seen before")
    parser.add_argument("--folder", type=Path, default=Path("seen_before"), help="for results")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for found in trials(arguments.minutes, arguments.before, arguments.folder):
        scratch, ours = (found[label][-1]["rmse"] for label in ("scratch", "seen"))
        start = found["scratch"][0]["rmse"]
        gain = 100 * (ours / scratch - 1)
        about = f"{found['series']:12s} 1/{found['share']} start {start:.4f}"
        print(f"{about} scratch {scratch:.4f} seen {ours:.4f} ({gain:+.1f} %)", flush=True)


if __name__ == "__main__":
    main()
