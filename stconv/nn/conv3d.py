"""`torch.nn.Conv3d` that takes the fastest way it knows; parameters, names and results are torch's."""

from __future__ import annotations

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from stconv.nn.cells import from_cells, takes_fast_paths, to_cells
from stconv.nn.spectral import multiply_adds, spectral_convolution
from stconv.nn.taps import tap_convolution
from stconv.nn.temporal import temporal_convolution

MANY_ROWS = 32
"""Batch times steps from which a product for each pair of wave numbers is worth its while."""
WORTH = 2.0
"""How many times fewer multiply-adds pay for the transforms to and from wave numbers."""


class Conv3d(nn.Conv3d):
    """A convolution that chooses by its sizes how it is computed on a CPU.

    | kernel                              | way                                                  |
    |-------------------------------------|------------------------------------------------------|
    | (k, 1, 1)                           | products over (time, channel), `stconv.nn.temporal`  |
    | (1, k, m), wide, many channels      | in the frequency domain, `stconv.nn.spectral`        |
    | (t, k, m), few outputs              | what each tap adds, `stconv.nn.taps`                 |
    | any other, and on any other device  | torch's own                                          |

    The first three have no stride, no dilation and no groups. What was measured: benchmarks/RESULTS.md.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        t, k, m = self.kernel_size
        before, p, q = (int(n) for n in self.padding)
        if not takes_fast_paths(x) or not self._is_simple() or self._is_too_large_for(x):
            return super()._conv_forward(x, weight, bias)
        if (k, m, p, q) == (1, 1, 0, 0) and t > 1:
            return from_cells(temporal_convolution(_longer(x, before), weight[:, :, :, 0, 0], bias))
        if (t, before) == (1, 0) and self._is_spectral(x):
            return from_cells(spectral_convolution(to_cells(x), weight[:, :, 0], bias, (p, q)))
        if 1 < k * m <= t * self.in_channels / self.out_channels:
            return tap_convolution(_longer(x, before), weight, bias, (p, q))
        return super()._conv_forward(x, weight, bias)

    def _is_simple(self) -> bool:
        only_ones = self.groups == prod(self.stride) == prod(self.dilation) == 1
        return only_ones and self.padding_mode == "zeros"

    def _is_too_large_for(self, x: Tensor) -> bool:
        """Whether there are fewer steps or cells than taps; torch says so."""
        sizes = zip(x.shape[2:], map(int, self.padding), self.kernel_size, strict=True)
        return any(n + 2 * p < k for n, p, k in sizes)

    def _is_spectral(self, x: Tensor) -> bool:
        (batch, c_in, steps, *grid), (_, k, m) = x.shape, self.kernel_size
        direct = k * m * c_in * self.out_channels
        ours = multiply_adds((grid[0], grid[1]), (k, m), c_in, self.out_channels, batch * steps)
        return batch * steps >= MANY_ROWS and direct >= WORTH * ours


def _longer(x: Tensor, steps: int) -> Tensor:
    """Bring to the order of cells, with so many steps of zeros before and after."""
    return F.pad(to_cells(x), (0, 0, steps, steps)) if steps else to_cells(x)
