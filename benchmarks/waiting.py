"""The waiting of threads: seconds of an epoch on a quiet and a busy machine, by the environment of OpenMP.

python -m benchmarks.waiting [--repeat 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from stconv.processor import SPINS

IN_PYTHON = "a call in Python"
"""OpenMP's default, with the idle threads that a call of the front door starts on a busy machine."""
POLICIES = {
    "OpenMP's default": {},
    "stconv's choice": {"GOMP_SPINCOUNT": SPINS},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "100,000 turns": {"GOMP_SPINCOUNT": "100000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    IN_PYTHON: {},
}
CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
BUSY = "while True: pass"
EPOCH = """
import time, torch
from stconv.brief_waits import brief_waits
from stconv.models import UNet
waits = brief_waits()
if {in_python}:
    waits.__enter__()
torch.manual_seed(0)
network = UNet(2, 2, 5, 5, n_levels=3, n_filters=32)
optimizer = torch.optim.AdamW(network.parameters())
x, y = torch.randn(16, 2, 5, 19, 29), torch.randn(16, 2, 5, 19, 29)
for step in range(45):
    if step == 5:
        began = time.perf_counter()
    optimizer.zero_grad()
    (network(x) - y).square().mean().backward()
    optimizer.step()
print(time.perf_counter() - began)
if {in_python}:
    waits.__exit__(None, None, None)
"""
"""Forty steps on five days of two variables on 19 x 29 cells, after five that do not count."""


def seconds(name: str) -> float:
    """Time of an epoch in a process of its own."""
    policy, program = POLICIES[name], EPOCH.format(in_python=name == IN_PYTHON)
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment | policy, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Print a table: seconds on a quiet machine and beside two busy processes, and their ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="epochs of each kind, the median counts")
    repeat = parser.parse_args().repeat
    found: dict[str, list[list[float]]] = {name: [[], []] for name in POLICIES}
    for _ in range(repeat):
        for busy in (0, 1):
            others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * busy)]
            try:
                for name in POLICIES:
                    found[name][busy].append(seconds(name))
            finally:
                for process in others:
                    process.kill()
                    process.wait()
    default = statistics.median(found["OpenMP's default"][0])
    print(f"{len(os.sched_getaffinity(0))} cores, two busy processes, median of {repeat}\n")
    print("| threads | quiet, s | busy, s | quiet over OpenMP's default | busy over its own quiet |")
    print("|---|---|---|---|---|")
    for name, (quiet, busy) in found.items():
        alone, beside = statistics.median(quiet), statistics.median(busy)
        print(f"| {name} | {alone:.2f} | {beside:.2f} | {alone / default:.2f} | {beside / alone:.2f} |")


if __name__ == "__main__":
    main()
