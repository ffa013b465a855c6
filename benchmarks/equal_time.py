"""`python -m benchmarks.equal_time`: networks under one recipe, each for the same minutes of the processor.

Every network forecasts the residual of the same linear start, with the same loss, optimizer (Muon), schedule
and averaged weights; only networks differ. The validation error is measured several times on the way, outside
of the time that counts: that of the processor, divided by the threads, so that other work on the machine does
not count. The test period is not read. One file per training is written; what is there already is not
repeated, so that the program can be stopped and started again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.series.dataset import WindowDataset
from stconv.experiments.networks import network_of_config
from stconv.losses import MaskedMSE
from stconv.models import Network
from stconv.nn.memory import channels_last
from stconv.optimizers import Muon
from stconv.resources import configs_dir
from stconv.schedules import WarmupCosine
from stconv.spacing import evenly_spaced

SERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "air": ("ncep_air_temperature_unet2d.yaml", {"grid": [25, 53], "neighbors": True}),
    "sea": ("ersst_v5.yaml", {"grid": [89, 180], "neighbors": True}),
    "trips": ("bikenyc_next_hour.yaml", {"grid": [16, 8], "neighbors": True}),
    "rain": ("bom_rain.yaml", {}),
    "made": ("quickstart.yaml", {"neighbors": True}),
}
"""Configuration whose data are used, and the start, by name."""
UNET = {"n_levels": 3, "n_filters": 32, "growth": 1.5, "n_blocks": 2, "dropout": 0.2}
THIN = {**UNET, "n_filters": 8, "widening": 4}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet_2d": ("UNet", UNET),
    "unet_mixed": ("UNet", {**UNET, "growth": 1.0, "maker": "mixed"}),
    "unet_2plus1d": ("UNet", {**THIN, "maker": "2plus1d", "convolution": "light"}),
    "unet_3d": ("UNet", {**THIN, "maker": "3d"}),
    "stconvs2s_r": (
        "STConvS2S",
        {"n_filters": 16, "kernel": 3, "norm": "group", "dropout": 0.2, "zero_head": True},
    ),
    "convlstm": ("ConvLSTM", {}),
    "simvp": ("SimVP", {"hid_s": 16, "hid_t": 128, "n_t": 4, "mlp_ratio": 4}),
}
"""Registered network and its settings, by name. SimVP is thinner than published (64, 512, 8 and 8), with
which a step on a processor takes too long for some minutes of training."""
MOST_WINDOWS = {"train": 4096, "val": 128}
"""Evenly spaced windows of a period on which starts are fitted and the validation error is measured."""
LR, WEIGHT_DECAY, CLIP, DECAY = 0.003, 0.05, 5.0, 0.99
LOOKS = 6
"""How often the validation error is measured."""
SCHEDULE = 10_000
"""Steps of the schedule; the share of the time that is over says which one is due."""


def experiment(series: str, network: str, seed: int, folder: Path) -> tuple[Network, GridDataModule]:
    """Build an untrained network in its start, and its data."""
    name, start = SERIES[series]
    config = yaml.safe_load((configs_dir() / name).read_text())
    kind, settings = NETWORKS[network]
    inner = {"class_path": f"stconv.models.{kind}", "init_args": settings}
    wrapper = "Advected" if series == "rain" else "LinearResidual"
    config["model"]["network"] = {
        "class_path": f"stconv.models.{wrapper}", "init_args": {**start, "network": inner},
    }  # fmt: skip
    if series == "made":
        from stconv.datasets.recipes.synthetic import generate

        config["data"]["source"]["paths"] = str(generate(folder / "made.nc"))
    file = folder / f"{series}_{network}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    torch.manual_seed(seed)
    built, data = network_of_config(file)
    data.setup("fit")
    channels_last(built)  # as in a training on a processor
    return built, data


def batches(data: GridDataModule, period: str) -> Iterator[dict[str, Tensor]]:
    """Iterate over evenly spaced windows of a period, in the order of time."""
    references = evenly_spaced(data.references[period], MOST_WINDOWS[period])
    windows, size = WindowDataset(data.series, data.spec, references), data.loading.batch_size
    for first in range(0, len(windows), size):
        yield windows.batch(range(first, min(first + size, len(windows))))


def normalized(data: GridDataModule, period: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Iterate over the same windows as a network fits its start on."""
    for batch in batches(data, period):
        yield (data.preparation.inputs(batch), *data.preparation.targets(batch))


@torch.no_grad()
def error(network: Network, data: GridDataModule) -> float:
    """Root mean square error over targets, leads and cells of the validation period, physical units."""
    for part in network.parts():
        part.after_epoch(partial(normalized, data, "val"))
    squares, n = 0.0, 0
    for batch in batches(data, "val"):
        forecast = data.preparation.physical(network(data.preparation.inputs(batch)), batch)
        off = (forecast - batch["targets"]).double()
        squares, n = squares + float(off.square().nansum()), n + int(off.isfinite().sum())
    return float((squares / n) ** 0.5)


def train(network: Network, data: GridDataModule, minutes: float) -> Iterator[tuple[float, float, int]]:
    """Train for so many minutes; gives minutes so far, validation error, and steps so far."""
    budget, spent = 60 * minutes * torch.get_num_threads(), 0.0
    began = time.process_time()
    for part in network.parts():
        part.before_training(partial(normalized, data, "train"), partial(normalized, data, "val"))
    averaged = copy.deepcopy(network).eval()
    yield 0.0, error(averaged, data), 0
    spent += time.process_time() - began
    windows = WindowDataset(data.series, data.spec, data.references["train"])
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = Muon(trained, lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = WarmupCosine(optimizer)
    schedule.follow(SCHEDULE)
    loss, steps, looks = MaskedMSE(), 0, 0
    while spent < budget:
        order = torch.randperm(len(windows)).split(data.loading.batch_size)
        for chosen in order:
            began = time.process_time()
            batch = windows.batch(chosen.tolist())
            optimizer.param_groups[0]["lr"] = LR * schedule.factor(int(SCHEDULE * spent / budget))
            optimizer.zero_grad()
            forecast = network.train()(data.preparation.inputs(batch))
            loss(forecast, *data.preparation.targets(batch)).backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimizer.step()
            steps += 1
            decay = min(DECAY, (1 + steps) / (10 + steps))
            with torch.no_grad():
                for mean, new in zip(averaged.parameters(), network.parameters(), strict=True):
                    mean.lerp_(new, 1 - decay)
            spent += time.process_time() - began
            if spent >= budget * (looks + 1) / LOOKS:
                looks = int(LOOKS * spent / budget)
                for mean, new in zip(averaged.buffers(), network.buffers(), strict=True):
                    mean.copy_(new)
                yield spent / 60 / torch.get_num_threads(), error(averaged, data), steps
            if spent >= budget:
                break


def run(series: str, network: str, minutes: float, seed: int, folder: Path) -> None:
    """Train one network on one series, and write its curve."""
    file = folder / f"{series}_{network}_{minutes:g}{f'_seed{seed}' if seed else ''}.json"
    if file.exists():
        return
    built, data = experiment(series, network, seed, folder)
    weights = sum(weight.numel() for weight in built.parameters() if weight.requires_grad)
    curve = []
    for at, found, steps in train(built, data, minutes):
        curve.append({"minutes": round(at, 3), "rmse": found, "steps": steps})
        print(f"{series} {network}: {at:.2f} min, {steps} steps, {found:.4f}", flush=True)
    result = {"series": series, "network": network, "seed": seed, "budget": minutes, "weights": weights}
    result["curve"] = curve
    file.write_text(json.dumps(result, indent=1))


def summary(folder: Path) -> None:
    """Write all curves as a table, with minutes to the best rival's last error, and as a picture.

    Rivals are other networks from the same seed.
    """
    found = [{"seed": 0, **json.loads(file.read_text())} for file in sorted(folder.glob("*_*.json"))]
    with (folder / "curves.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["series", "network", "seed", "weights", "budget", "minutes", "steps", "rmse"])
        for one in found:
            head = [one[key] for key in ("series", "network", "seed", "weights", "budget")]
            rows.writerows([*head, look["minutes"], look["steps"], look["rmse"]] for look in one["curve"])
    for series in SERIES:
        ours = [one for one in found if one["series"] == series]
        for one in sorted(ours, key=lambda one: one["curve"][-1]["rmse"]):
            rivals = [
                other["curve"][-1]["rmse"]
                for other in ours
                if other["seed"] == one["seed"] and other is not one
            ]
            best = min(rivals, default=float("nan"))
            reached = [look["minutes"] for look in one["curve"] if look["rmse"] <= best]
            print(
                f"{series:6s} {one['network']:14s} seed {one['seed']} {one['curve'][-1]['rmse']:8.4f} "
                f"{one['curve'][-1]['steps']:6d} steps {one['weights']:9d} weights; best rival's error "
                + (f"after {reached[0]:.2f} min" if reached else "not reached")
            )
    draw(found, folder / "curves.png")


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Draw the validation error against minutes, one panel per series."""
    from matplotlib.figure import Figure

    names = [series for series in SERIES if any(one["series"] == series for one in found)]
    figure = Figure(figsize=(4 * len(names), 3.6), layout="constrained")
    lines = {}
    for axes, series in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for one in found:
            if one["series"] == series:
                looks = one["curve"]
                color = f"C{list(NETWORKS).index(one['network'])}"
                lines[one["network"]], = axes.plot(
                    [look["minutes"] for look in looks], [look["rmse"] for look in looks],
                    color=color,
                )  # fmt: skip
        axes.set(title=series, xlabel="minutes of the processor / threads", ylabel="RMSE, validation")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(NETWORKS))
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equal_time", description=__doc__)
    parser.add_argument("--series", nargs="*", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--minutes", type=float, default=10, help="of training for each")
    parser.add_argument("--seed", type=int, default=0, help="of first weights, batches and dropout")
    parser.add_argument("--folder", type=Path, default=Path("equal_time"), help="for curves")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for series in arguments.series:
        for network in arguments.networks:
            run(series, network, arguments.minutes, arguments.seed, arguments.folder)
    summary(arguments.folder)


if __name__ == "__main__":
    main()
