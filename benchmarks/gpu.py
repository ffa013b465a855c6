"""bf16-mixed, channels-last and compiled on a GPU, against eager float32, in at most five minutes.

Writes its table into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.networks import SIZES, inference, training_step
from stconv.explain.anatomy import anatomy
from stconv.models import Network, STConvS2S, UNet
from stconv.nn.memory import channels_last

RESULTS = Path(__file__).with_name("RESULTS.md")
BUDGET_SECONDS = 270.0
"""Time after which no further measurement is begun."""
ROUNDS = 20
PRODUCT = 8192
"""Rows and columns of the matrix product that sets the limit."""
FRAMES, LEADS = 5, 5


@dataclass(frozen=True)
class Case:
    """A network on a grid, and the number of windows in a batch."""

    title: str
    network: Network
    grid: tuple[int, int]
    batch: int


@dataclass(frozen=True)
class Way:
    """A way to compute: its precision, memory layout, and whether it is compiled."""

    title: str
    mixed: bool = False
    last: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class Row:
    """A measurement; the difference is that of the forecast from float32, relative to its RMS."""

    case: str
    work: str
    way: str
    windows_per_second: float
    times_eager: float
    share_of_limit: float
    difference: float


EAGER = Way("float32, eager")
WAYS = (
    EAGER,
    Way("bf16-mixed", mixed=True),
    Way("bf16-mixed, channels-last", mixed=True, last=True),
    Way("bf16-mixed, channels-last, compiled", mixed=True, last=True, compiled=True),
)


def cases() -> list[Case]:
    torch.manual_seed(0)
    settings = dict(SIZES["CFSR"])
    grid = settings.pop("grid")
    paper = STConvS2S(1, 1, FRAMES, LEADS, variant="R", **settings)
    unet = UNet(4, 4, FRAMES, LEADS, maker="2d", n_filters=64)
    return [
        Case("STConvS2S-R, CFSR, 32 x 32", paper, grid, 120),
        Case("U-Net 2d, 4 variables, 181 x 360", unet, (181, 360), 8),
    ]


def limit(device: torch.device, size: int = PRODUCT) -> float:
    """Measured operations per second of a bf16 matrix product."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    product = torch.empty_like(a)
    return 2 * size**3 / seconds_of(lambda: torch.mm(a, a, out=product), device, ROUNDS)


def seconds_of(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Mean seconds of a call, after three of them: queued one after the other, as a training does."""
    for _ in range(3):
        run()
    _wait(device)
    began = time.perf_counter()
    for _ in range(rounds):
        run()
    _wait(device)
    return (time.perf_counter() - began) / rounds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_this_way(network: nn.Module, way: Way, backend: str) -> nn.Module:
    network = channels_last(network) if way.last else network
    return torch.compile(network, backend=backend) if way.compiled else network  # type: ignore[return-value]


def measure(
    case: Case,
    ways: tuple[Way, ...],
    device: torch.device,
    most: float,
    *,
    rounds: int = ROUNDS,
    backend: str = "inductor",
    until: float = float("inf"),
) -> list[Row]:
    """Measure a training step and a forecast in each way.

    Args:
        case: Network and sizes.
        ways: Ways to compute, eager float32 first.
        device: Device.
        most: Operations per second of the limit.
        rounds: Calls that are timed.
        backend: Backend of `torch.compile`.
        until: Value of the clock from which on nothing is begun.
    """
    network = case.network.to(device)
    x = torch.randn(case.batch, network.c_in, network.t_in, *case.grid, device=device)
    y = torch.randn(case.batch, network.c_out, network.leads, *case.grid, device=device)
    shape = (network.c_in, network.t_in, *case.grid)
    forward = 2 * case.batch * sum(layer.multiply_adds for layer in anatomy(network.eval(), shape))
    exact = _forecast(network, EAGER, x)
    rows: list[Row] = []
    for work, operations in (("training step", 3 * forward), ("forecast", forward)):  # backward is two more
        eager = 0.0
        for way in ways:
            if time.monotonic() > until:
                return rows
            here = in_this_way(copy.deepcopy(network), way, backend)
            run = training_step(here, x, y) if work == "training step" else inference(here, x)

            def call(run: Callable[[], None] = run, way: Way = way) -> None:
                with torch.autocast(device.type, torch.bfloat16, enabled=way.mixed):
                    run()

            difference = _difference(exact, _forecast(here.eval(), way, x)) if work == "forecast" else 0.0
            if work == "training step":
                here.train()
            seconds = seconds_of(call, device, rounds)
            eager = eager or seconds
            share = operations / seconds / most
            rows.append(
                Row(case.title, work, way.title, case.batch / seconds, eager / seconds, share, difference)
            )
    return rows


@torch.inference_mode()
def _forecast(network: nn.Module, way: Way, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=way.mixed):
        found: Tensor = network.eval()(x)
    return found.float()


def _difference(exact: Tensor, found: Tensor) -> float:
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def section(rows: list[Row], machine: str, most: float) -> str:
    """The part of RESULTS.md for these rows."""
    lines = [
        f"## {datetime.now(UTC):%Y-%m-%d, %H:%M}, on a GPU: `python -m benchmarks.gpu`, {machine}, "
        f"torch {torch.__version__}",
        "",
        f"Limit: a bf16 matrix product of {PRODUCT} squared, {most / 1e12:.3g} TFLOP/s. The work counts two "
        "operations for each multiply-add, and a training step as three forecasts. Float32 without TF32.",
        "",
        "| network | work | way | windows/s | times eager float32 | share of the limit | difference, RMS |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = f"{row.difference:.1e}" if row.work == "forecast" else ""
        lines.append(
            f"| {row.case} | {row.work} | {row.way} | {row.windows_per_second:.3g} | {row.times_eager:.2f} | "
            f"{row.share_of_limit:.1%} | {difference} |"
        )
    return "\n".join([*lines, "", ""])


def with_section(results: str, new: str) -> str:
    """RESULTS.md with a new part before all others."""
    at = results.index("\n## ") + 1
    return results[:at] + new + results[at:]


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit(
            "benchmarks.gpu measures on a GPU, and PyTorch finds none here. Run it on a machine with one and "
            "with a build of PyTorch for it; `stconv doctor` says what is seen."
        )
    until, device = time.monotonic() + BUDGET_SECONDS, torch.device("cuda")
    most = limit(device)
    rows = [row for case in cases() for row in measure(case, WAYS, device, most, until=until)]
    new = section(rows, torch.cuda.get_device_name(device), most)
    RESULTS.write_text(with_section(RESULTS.read_text(), new))
    print(new)


if __name__ == "__main__":
    main()
