"""Convolutions in space with a wide kernel, computed as products in the frequency domain.

On a grid of ten to a hundred cells a side, a discrete Fourier transform is fastest as a product with a small
matrix of cosines and sines. The whole convolution then consists of matrix products: along lat (real to
complex), along lon, over the channels for each pair of wavenumbers, and back. A (1, 5, 5) convolution from 64
to 128 channels on 32 x 32 cells takes a fifth of the multiply-adds of the direct sum, with a smaller rounding
error.

The transform is periodic. With zeros around the grid, n cells and a padding of p need a period of n + p, so
that both edges share the same zeros. Tap j of a kernel has the position p - j.

A wave covers all cells of a frame, and so does its rounding error. That is harmless if the values of all
cells are of similar size, which `is_even` checks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from stconv.nn.fast_paths import takes_fast_paths
from stconv.nn.gradients import convolution_gradients

SCRATCH = 2**20
"""Values in a temporary tensor of the loop over wavenumbers, few enough to stay in the cache."""

EVEN = 300.0
"""Largest ratio of the largest cell of a frame to its smallest, each by its largest channel. The rounding
error, 3e-7 of the largest cell in float32, is then at most 1e-4 of the smallest."""

Sizes = tuple[int, int]
"""Two values along (lat, lon)."""


def is_even(values: Tensor, channel: int, grid: Sizes) -> bool:
    """Whether all cells keep their precision in the frequency domain, without overflow, NaN or infinity.

    Args:
        values: Frames, with dimensions in any order.
        channel: Dimension of the channels.
        grid: Dimensions along lat and lon.
    """
    level = values.detach().abs().amax(channel, keepdim=True)
    brightest, faintest = level.amax(grid), level.amin(grid)
    within = float(brightest.max()) < torch.finfo(values.dtype).max ** (
        1 / 3
    )  # so that products do not overflow
    return within and bool((brightest <= EVEN * faintest).all())


def multiply_adds(grid: Sizes, kernel: Sizes, c_in: int, c_out: int, rows: int) -> float:
    """Return the multiply-adds of a forward pass per cell and row; the direct sum takes k m c_in c_out.

    Args:
        grid: Number of cells along (lat, lon).
        kernel: Odd sizes (k, m), padded to keep the grid.
        c_in: Number of input channels.
        c_out: Number of output channels.
        rows: Batch size times steps, which share the transform of the kernel.
    """
    (n_lat, n_lon), (k, m) = grid, kernel
    tall, wide = 2 * ((n_lat + k // 2) // 2 + 1), n_lon + m // 2
    transforms = (c_in + c_out) * tall * n_lon * (n_lat + 2 * wide)
    products = c_in * c_out * 2 * tall * wide * (1 + m / rows)
    return (transforms + products) / (n_lat * n_lon)


class SpectralProduct(torch.autograd.Function):
    """Convolution over lat and lon in the frequency domain.

    Args:
        x: Input, (lat, lon, rows, c_in), contiguous.
        weight: Weight, (c_out, c_in, k, m).
        bias: Bias, (c_out,), or None.
        padding: Zeros (p, q) on either side along lat and lon.

    Returns:
        (lat + 2 p - k + 1, lon + 2 q - m + 1, rows, c_out).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sizes) -> Tensor:
        """Transform, multiply for each pair of wavenumbers, and transform back."""
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        inside, taps, outside, period = _positions(x, weight, padding)
        frames = _Analysis(x, inside, period)
        kernel = _Analysis(weight.permute(2, 3, 1, 0), taps, period)
        result = _Synthesis(outside, period, (x.shape[2], len(weight)), x)
        for some in _portions(period, frames, kernel, result):
            (xr, xi), (wr, wi) = frames[some], kernel[some]
            yr = torch.bmm(xr, wr).baddbmm_(xi, wi, alpha=-1)
            yi = torch.bmm(xr, wi).baddbmm_(xi, wr)
            if bias is not None and some.start == 0:
                yr[0] += bias * math.prod(period)  # wavenumber zero is the mean over the period
            result[some] = yr, yi
        return result.values()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients the same way, with one factor conjugated."""
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or not takes_fast_paths(dy, x, weight) or not is_even(dy, 3, (0, 1)):
            of_x, of_weight, of_bias = convolution_gradients(
                dy.permute(2, 3, 0, 1), x.permute(2, 3, 0, 1), weight, ctx.needs_input_grad[:3],
                padding=ctx.padding,
            )  # fmt: skip
            return None if of_x is None else of_x.permute(2, 3, 0, 1), of_weight, of_bias, None
        want_x, want_weight, want_bias, _ = ctx.needs_input_grad
        inside, taps, outside, period = _positions(x, weight, ctx.padding)
        c_out, c_in = weight.shape[:2]
        change = _Analysis(dy, outside, period)
        frames = _Analysis(x, inside, period)
        kernel = _Analysis(weight.permute(2, 3, 0, 1), taps, period)
        dx = _Synthesis(inside, period, (x.shape[2], c_in), x)
        dw = _Synthesis(taps, period, (c_in, c_out), x)
        for some in _portions(period, frames, kernel, change):
            dr, di = change[some]
            if want_x:
                wr, wi = kernel[some]
                dx[some] = torch.bmm(dr, wr).baddbmm_(di, wi), torch.bmm(di, wr).baddbmm_(dr, wi, alpha=-1)
            if want_weight:
                xr, xi = (part.mT for part in frames[some])
                dw[some] = torch.bmm(xr, dr).baddbmm_(xi, di), torch.bmm(xr, di).baddbmm_(xi, dr, alpha=-1)
        return (
            dx.values() if want_x else None,
            dw.values().permute(3, 2, 0, 1) if want_weight else None,
            dy.sum((0, 1, 2)) if want_bias else None,
            None,
        )


def spectral_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sizes) -> Tensor:
    """Convolve (lat, lon, batch, time, c_in) over lat and lon.

    Args:
        x: Input, contiguous.
        weight: Weight, (c_out, c_in, k, m).
        bias: Bias, (c_out,), or None.
        padding: Zeros (p, q) on either side along lat and lon.

    Returns:
        (lat', lon', batch, time, c_out).
    """
    y: Tensor = SpectralProduct.apply(x.flatten(2, 3), weight, bias, padding)  # type: ignore[no-untyped-call]
    return y.unflatten(2, x.shape[2:4])


Positions = tuple[range, range]


def _positions(x: Tensor, weight: Tensor, padding: Sizes) -> tuple[Positions, Positions, Positions, Sizes]:
    """Return the positions of input cells, taps and output cells on the period, and the period."""
    grid, kernel = x.shape[:2], weight.shape[2:]
    axes = list(zip(grid, kernel, padding, strict=True))
    inside, taps, outside, period = (
        [range(n) for n in grid],
        [range(p, p - k, -1) for _, k, p in axes],
        [range(n + 2 * p - k + 1) for n, k, p in axes],
        [n + p for n, _, p in axes],
    )
    return tuple(inside), tuple(taps), tuple(outside), tuple(period)  # type: ignore[return-value]


class _Analysis:
    """Transform of values (lat, lon, a, b): along lat at once, along lon in portions."""

    def __init__(self, values: Tensor, positions: Positions, period: Sizes) -> None:
        lat, lon, *self.shape = values.shape
        values = values.reshape(lat, -1)
        half = torch.mm(_real_to_waves(positions[0], period[0], values.dtype), values)
        self.half = half.view(period[0] // 2 + 1, 2 * lon, -1)
        self.matrix = _waves_to_waves(positions[1], period[1], values.dtype)

    def __getitem__(self, some: slice) -> tuple[Tensor, Tensor]:
        """Return real and imaginary parts of one portion, all wavenumbers along lon, (waves, a, b)."""
        half = self.half[some]
        waves = torch.bmm(self.matrix.expand(len(half), -1, -1), half)
        real, imaginary = waves.view(-1, 2, *self.shape).unbind(1)
        return real, imaginary


class _Synthesis:
    """Inverse of `_Analysis`, filled in portions."""

    def __init__(self, positions: Positions, period: Sizes, shape: tuple[int, int], like: Tensor) -> None:
        self.positions, self.period, self.shape = positions, period, shape
        self.half = like.new_empty(period[0] // 2 + 1, 2 * len(positions[1]), math.prod(shape))
        self.matrices = _waves_from_waves(positions[1], period[1], like.dtype)

    def __setitem__(self, some: slice, waves: tuple[Tensor, Tensor]) -> None:
        half = self.half[some]
        for beta, matrix, part in zip((0, 1), self.matrices, waves, strict=True):
            part = part.view(len(half), self.period[1], -1)
            torch.baddbmm(half, matrix.expand(len(half), -1, -1), part, beta=beta, out=half)

    def values(self) -> Tensor:
        """Return the values, (lat, lon, a, b)."""
        matrix = _real_from_waves(self.positions[0], self.period[0], self.half.dtype)
        # computed into a tensor of its own, since an autograd function must not return a view
        values = self.half.new_empty(*map(len, self.positions), *self.shape)
        torch.mm(matrix, self.half.view(matrix.shape[1], -1), out=values.view(len(values), -1))
        return values


def _portions(period: Sizes, *parts: _Analysis | _Synthesis) -> Iterator[slice]:
    """Divide the wavenumbers along lat into portions that fit in the cache."""
    largest = 2 * period[1] * max(math.prod(part.shape) for part in parts)
    n, size = period[0] // 2 + 1, max(1, SCRATCH // largest)
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


def _angles(positions: range, period: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each wavenumber (row) at each position (column)."""
    turns = torch.outer(*(torch.tensor(n, device="cpu") for n in (range(period), positions))) % period
    angle = turns.double() * (2 * math.pi / period)
    return angle.cos(), angle.sin()


@lru_cache(maxsize=64)
def _real_to_waves(positions: range, period: int, dtype: torch.dtype) -> Tensor:
    """Return the transform; rows: wavenumbers up to half the period, then real and imaginary part."""
    cos, sin = _angles(positions, period)
    return torch.stack((cos, -sin), 1)[: period // 2 + 1].flatten(0, 1).to(dtype)


@lru_cache(maxsize=64)
def _real_from_waves(positions: range, period: int, dtype: torch.dtype) -> Tensor:
    """Return the inverse; omitted wavenumbers are the conjugates of the ones present."""
    n = period // 2 + 1
    cos, sin = _angles(positions, period)
    times = cos.new_full((n, 1, 1), 2.0 / period)
    times[0] = times[period - n + 1 :] = 1 / period
    return (torch.stack((cos, -sin), 1)[:n] * times).flatten(0, 1).T.contiguous().to(dtype)


@lru_cache(maxsize=64)
def _waves_to_waves(positions: range, period: int, dtype: torch.dtype) -> Tensor:
    """Return the complex transform; rows: wavenumber, part; columns: part, position."""
    cos, sin = _angles(positions, period)
    return torch.stack((torch.cat((cos, sin), 1), torch.cat((-sin, cos), 1)), 1).flatten(0, 1).to(dtype)


@lru_cache(maxsize=64)
def _waves_from_waves(positions: range, period: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the inverse: contributions of the waves' real and imaginary parts to (part, position)."""
    cos, sin = (part.T / period for part in _angles(positions, period))
    return torch.cat((cos, sin)).to(dtype), torch.cat((-sin, cos)).to(dtype)
