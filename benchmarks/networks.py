"""STConvS2S-R as it is trained and served here, against the same network from torch's own layers."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.limits import interleaved
from stconv.compute.engine import Members, compiled
from stconv.compute.export import onnx_bytes
from stconv.compute.quantization import rounded
from stconv.explain.anatomy import anatomy
from stconv.losses import RootMSE
from stconv.models import STConvS2S
from stconv.nn.cells import only_torch
from stconv.nn.memory import channels_last

SIZES = {
    "CFSR": {"grid": (32, 32), "n_layers": 3, "n_filters": 32, "kernel": 5},
    "CHIRPS": {"grid": (50, 50), "n_layers": 2, "n_filters": 8, "kernel": 5},
}
"""The two published settings, at 5 steps in and 5 out."""
BATCH = 15


def rows() -> list[dict[str, Any]]:
    """Rows {name, value, unit, target}: ratios of one run."""
    found = []
    for name, size in SIZES.items():
        found += _of_size(name, size)
    return found


def training_step(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Forward, loss, backward and update, with the paper's optimizer."""
    network.train()
    loss, weight = RootMSE(), torch.ones_like(y)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9, eps=1e-6)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(network(x), y, weight).backward()
        optimizer.step()

    return run


def inference(network: nn.Module, x: Tensor) -> Callable[[], None]:
    """A forecast without gradients."""
    network.eval()

    @torch.inference_mode()
    def run() -> None:
        network(x)

    return run


def plain(run: Callable[[], None]) -> Callable[[], None]:
    """The same call with nothing but torch's own layers."""

    def alone() -> None:
        with only_torch():
            run()

    return alone


def _of_size(name: str, size: dict[str, Any]) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    settings = dict(size)
    lat, lon = settings.pop("grid")
    theirs = STConvS2S(1, 1, 5, 5, variant="R", alignment="paper", **settings)
    ours = channels_last(copy.deepcopy(theirs))
    flops = 2 * sum(layer.multiply_adds for layer in anatomy(theirs.eval(), (1, 5, lat, lon)))
    a, product = torch.randn(2048, 2048), torch.empty(2048, 2048)
    found, engines = [], _engines(theirs, (lat, lon))
    for batch, train in ((BATCH, True), (BATCH, False), (1, False)):
        x, y = torch.randn(batch, 1, 5, lat, lon), torch.randn(batch, 1, 5, lat, lon)
        _check_equal(theirs, ours, x)
        pair = (training_step(net, x, y) if train else inference(net, x) for net in (theirs, ours))
        runs = dict(zip(("plain", "ours"), pair, strict=True))
        runs = {
            "plain": plain(runs["plain"]),
            "ours": runs["ours"],
            "limit": lambda: torch.mm(a, a, out=product),
        }
        if not train:
            runs |= {engine: partial(members, x) for engine, members in engines.items()}
        seconds = interleaved(runs, rounds=5 if train else 15)
        limit = 2 * 2048**3 / seconds["limit"]
        what = f"{name}, {'training step' if train else 'forecast'}, batch {batch}"
        work = flops * batch * (3 if train else 1)  # backward costs twice the forward pass
        fastest = {("CFSR", True): 1.5, ("CHIRPS", True): 2.0}.get((name, train), 1.4)
        share = {("CFSR", True): ">= 0.85", ("CFSR", False): ">= 0.9"}.get((name, train), "")
        found += [
            row(f"{what}: plain", seconds["plain"] * 1e3, "ms"),
            row(f"{what}: times plain", seconds["plain"] / seconds["ours"], "x", f">= {fastest}"),
            row(f"{what}: plain, share of the limit", work / seconds["plain"] / limit),
            row(f"{what}: share of the limit", work / seconds["ours"] / limit, target=share * (batch > 1)),
        ]
        for engine in engines if not train else ():
            aim = 2.5 if (name, batch, engine) == ("CFSR", BATCH, "openvino-int8") else fastest
            times = seconds["plain"] / seconds[engine]
            found.append(row(f"{what}, {engine}: times plain", times, "x", f">= {aim}"))
    return found


def _engines(network: nn.Module, grid: tuple[int, int]) -> dict[str, Members]:
    """The other engines, where they are installed; in int8 the network is calibrated on noise."""
    if importlib.util.find_spec("openvino") is None:
        print("networks: openvino is not installed, so that it was not measured")
        return {}
    model = onnx_bytes(network, members=True)
    noise = (torch.randn(1, 1, 5, *grid).numpy() for _ in range(20))
    engines = {"openvino": compiled(model), "openvino-int8": compiled(rounded(model, noise))}
    x = torch.randn(BATCH, 1, 5, *grid)
    with torch.inference_mode(), only_torch():
        expected = network(x)
    error = float((engines["openvino"](x)[0] - expected).abs().max() / expected.abs().max())
    if error > 1e-4:
        raise SystemExit(f"OpenVINO differs by {error:.2g}, relative; expected at most 1e-4")
    return engines


def row(name: str, value: float, unit: str = "", target: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target}


@torch.inference_mode()
def _check_equal(theirs: nn.Module, ours: nn.Module, x: Tensor) -> None:
    """A faster network that forecasts something else is no faster network."""
    fresh = copy.deepcopy(ours)
    fresh.load_state_dict(theirs.state_dict())
    with only_torch():
        expected = theirs.eval()(x)
    error = float((fresh.eval()(x) - expected).abs().max() / expected.abs().max())
    if error > 1e-4:
        raise SystemExit(f"the two networks differ by {error:.2g}, relative; expected at most 1e-4")
