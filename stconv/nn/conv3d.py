"""A `torch.nn.Conv3d` that takes the fastest method it knows; parameters, names and results are torch's."""

from __future__ import annotations

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from stconv.errors import ShapeError
from stconv.nn.cells import from_cells, in_cells, in_frames, to_cells
from stconv.nn.fast_paths import is_finite, takes_fast_paths
from stconv.nn.padding import Steps
from stconv.nn.spectral import is_even, multiply_adds, spectral_convolution
from stconv.nn.taps import tap_convolution
from stconv.nn.temporal import temporal_convolution, temporal_taps

MANY_ROWS = 32
"""Smallest batch size times steps for which a product for each pair of wavenumbers pays off."""
WORTH = 2.0
"""Factor by which multiply-adds must fall to pay for the transforms to and from wavenumbers."""


class Conv3d(nn.Conv3d):
    """A convolution whose sizes decide how it is computed on a CPU.

    | kernel                              | method                                               |
    |-------------------------------------|------------------------------------------------------|
    | (k, 1, 1)                           | matrix products, `stconv.nn.temporal`                |
    | (1, k, m), wide, many channels      | in the frequency domain, `stconv.nn.spectral`        |
    | (t, k, m), few outputs              | one product for all taps, `stconv.nn.taps`           |
    | any other                           | torch's own                                          |

    The first three require stride 1, dilation 1 and one group, and skip the zeros before and after the
    frames. The method by taps serves an input with cells outermost, or a single output channel in training;
    otherwise torch is faster. Where no fast path may be taken (see `stconv.nn.fast_paths`; also for frames
    whose cells differ too much in size, and for weights that are not finite) torch computes too. Measurements
    are in benchmarks/RESULTS.md.
    """

    around: Steps = (0, 0)
    """Steps of zeros before and after the frames, in addition to `padding`; a negative one drops frames."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        before, after = self.around
        in_order = x.ndim == 5 and in_cells(x)
        if before < 0 or after < 0:
            x = _cropped(x, max(-before, 0), max(-after, 0))
            before, after = max(before, 0), max(after, 0)
        if self._is_simple() and x.ndim == 5 and takes_fast_paths(x, weight, bias):
            t, k, m = self.kernel_size
            both, p, q = (int(n) for n in self.padding)
            zeros = (before + both, after + both)
            in_time = (k, m, p, q) == (1, 1, 0, 0) and t > 1
            in_space = (t, *zeros) == (1, 0, 0) and self._is_spectral(x)
            few = 1 < k * m <= t * self.in_channels / self.out_channels
            by_taps = few and (in_order or (self.out_channels == 1 and x.requires_grad))
            faster = (in_time or in_space or by_taps) and not self._is_too_large_for(x, zeros)
            if faster and is_finite(weight, bias):  # otherwise padded zeros times a weight would be NaN
                if in_time and in_frames(x):
                    return temporal_taps(x, weight[:, :, :, 0, 0], bias, zeros)
                if in_time:
                    return from_cells(temporal_convolution(to_cells(x), weight[:, :, :, 0, 0], bias, zeros))
                if in_space and is_even(x, 1, (3, 4)):
                    return from_cells(spectral_convolution(to_cells(x), weight[:, :, 0], bias, (p, q)))
                if by_taps:
                    return tap_convolution(to_cells(x), weight, bias, zeros, (p, q))
        if before or after:
            x = F.pad(x, (0, 0, 0, 0, before, after))
        return super()._conv_forward(x, weight, bias)

    def _is_simple(self) -> bool:
        only_ones = self.groups == prod(self.stride) == prod(self.dilation) == 1
        return only_ones and self.padding_mode == "zeros" and not isinstance(self.padding, str)

    def _is_too_large_for(self, x: Tensor, zeros: Steps) -> bool:
        """Whether there are fewer steps or cells than taps, an error that is left to torch to report."""
        padded = (sum(zeros), *(2 * int(p) for p in self.padding[1:]))
        sizes = zip(x.shape[2:], padded, self.kernel_size, strict=True)
        return any(n + p < k for n, p, k in sizes)

    def _is_spectral(self, x: Tensor) -> bool:
        (batch, c_in, steps, *grid), (_, k, m) = x.shape, self.kernel_size
        direct = k * m * c_in * self.out_channels
        ours = multiply_adds((grid[0], grid[1]), (k, m), c_in, self.out_channels, batch * steps)
        return batch * steps >= MANY_ROWS and direct >= WORTH * ours


def _cropped(x: Tensor, before: int, after: int) -> Tensor:
    """Drop frames at either end of (..., channel, time, lat, lon)."""
    n_frames = x.shape[-3]
    if before + after >= n_frames:
        raise ShapeError(
            f"a convolution drops {before} frames at the start and {after} at the end, but its input "
            f"{tuple(x.shape)} has {n_frames} along time; expected at least {before + after + 1}. Give it "
            "more frames."
        )
    return x[..., before : n_frames - after, :, :]
