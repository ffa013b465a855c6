"""Heads by taps against torch's own convolution, in one run: time forward and with gradients, and memory.

python -m benchmarks.heads
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import time

import torch

from stconv.nn.cells import from_cells, only_torch, to_cells
from stconv.nn.heads import LeadHead

HEADS = (
    (32, 5, 5, (32, 32), 15), (16, 5, 3, (25, 53), 16), (32, 5, 3, (25, 53), 16), (32, 1, 5, (32, 32), 15),
    (32, 5, 5, (32, 32), 1), (64, 12, 5, (50, 50), 4),
)  # fmt: skip
"""Channels, leads, kernel, grid and batch, of five frames."""
TRIES = 9


def seconds(head: LeadHead, x: torch.Tensor, plain: bool, gradient: bool) -> float:
    """Processor time of one forecast, or of one with gradients."""
    start = time.process_time()
    with only_torch() if plain else contextlib.nullcontext(), torch.set_grad_enabled(gradient):
        y = head(x.detach().requires_grad_(gradient))
    if gradient:
        y.sum().backward()
    return time.process_time() - start


def main() -> None:
    """Print how many times faster than torch's own each head is, and the memory of a large grid."""
    torch.set_num_threads(1)
    x = from_cells(torch.randn(361, 720, 1, 5, 32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        LeadHead(32, 1, 5, 5, 5)(x)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"361 x 720 cells, 32 channels, 5 leads: input {x.nbytes >> 20} MiB, {more >> 10} MiB above it")
    print("| channels, leads, kernel, grid, batch | order | forecast | with gradients |\n|---|---|---|---|")
    for channels, leads, kernel, grid, batch in HEADS:
        head, x = LeadHead(channels, 1, 5, leads, kernel), torch.randn(batch, channels, 5, *grid)
        for order, frames in (("cells", from_cells(to_cells(x))), ("plain", x)):
            ratios = []
            for gradient in (False, True):
                runs = [
                    [seconds(head, frames, plain, gradient) for plain in (True, False)] for _ in range(TRIES)
                ]
                theirs, ours = (statistics.median(run) for run in zip(*runs[1:], strict=True))
                ratios.append(f"{theirs / ours:.2f} x")
            print(f"| {channels}, {leads}, {kernel}, {grid}, {batch} | {order} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
