"""STConvS2S-R as it is trained and served here, against the same network in the default memory format."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.limits import interleaved, matmul_flops
from stconv.explain.anatomy import anatomy
from stconv.losses import RootMSE
from stconv.models import STConvS2S
from stconv.nn.memory import channels_last

SIZES = {
    "CFSR": {"grid": (32, 32), "n_layers": 3, "n_filters": 32, "kernel": 5},
    "CHIRPS": {"grid": (50, 50), "n_layers": 2, "n_filters": 8, "kernel": 5},
}
"""The two published settings, at 5 steps in and 5 out."""
BATCH = 15


def rows() -> list[dict[str, Any]]:
    """Rows {name, value, unit, target}: ratios of one run."""
    limit = matmul_flops()
    found = [{"name": "float32 matrix product", "value": limit / 1e9, "unit": "GFLOP/s", "target": ""}]
    for name, size in SIZES.items():
        found += _of_size(name, size, limit)
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


def _of_size(name: str, size: dict[str, Any], limit: float) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    settings = dict(size)
    lat, lon = settings.pop("grid")
    plain = STConvS2S(1, 1, 5, 5, variant="R", alignment="paper", **settings)
    ours = channels_last(copy.deepcopy(plain))
    flops = 2 * sum(layer.multiply_adds for layer in anatomy(plain.eval(), (1, 5, lat, lon)))
    found = []
    for batch, train in ((BATCH, True), (BATCH, False), (1, False)):
        x, y = torch.randn(batch, 1, 5, lat, lon), torch.randn(batch, 1, 5, lat, lon)
        pair = {"plain": plain, "ours": ours}
        _check_equal(plain, ours, x)
        runs = {k: training_step(net, x, y) if train else inference(net, x) for k, net in pair.items()}
        seconds = interleaved(runs, rounds=8)
        what = f"{name}, {'training step' if train else 'forecast'}, batch {batch}"
        work = flops * batch * (3 if train else 1)  # backward costs twice the forward pass
        speedup, share = seconds["plain"] / seconds["ours"], work / seconds["ours"] / limit
        fastest = {("CFSR", True): 1.5, ("CHIRPS", True): 2.0}.get((name, train), 1.4)
        found.append(
            {"name": f"{what}: times plain", "value": speedup, "unit": "x", "target": f">= {fastest}"}
        )
        aim = {("CFSR", True, BATCH): ">= 0.85", ("CFSR", False, BATCH): ">= 0.9"}.get(
            (name, train, batch), ""
        )
        found.append({"name": f"{what}: share of the limit", "value": share, "unit": "", "target": aim})
    return found


@torch.inference_mode()
def _check_equal(plain: nn.Module, ours: nn.Module, x: Tensor) -> None:
    """A faster network that forecasts something else is no faster network."""
    fresh = copy.deepcopy(ours)
    fresh.load_state_dict(plain.state_dict())
    expected, found = plain.eval()(x), fresh.eval()(x)
    error = float((found - expected).abs().max() / expected.abs().max())
    if error > 1e-4:
        raise SystemExit(f"the two networks differ by {error:.2g}, relative; expected at most 1e-4")
