"""Convolutions and their gradients in plain NumPy and float64, for 1, 2 or 3 axes, written twice.

Once as the definition, a sum over taps for each output value (`direct`), and once as a matrix product over
unrolled windows (`im2col`). Both are cross-correlations, as deep learning says "convolution". Arrays are
(batch, channel, *axes), weights (c_out, c_in, *kernel), padding [(before, after), ...] per axis with zeros.
"""

from itertools import product

import numpy as np


def pad(x, padding, mode="zero"):
    """Pad the axes after batch and channel; mode zero, replicate or periodic."""
    numpy_mode = {"zero": "constant", "replicate": "edge", "periodic": "wrap"}[mode]
    return np.pad(np.asarray(x, np.float64), [(0, 0), (0, 0), *padding], mode=numpy_mode)


def out_size(size, kernel, stride=1, padding=0, dilation=1):
    """floor((W - F + P) / S) + 1, where F is the dilated kernel and P the padding of both sides together."""
    return (size - (dilation * (kernel - 1) + 1) + padding) // stride + 1


def _plan(x, w, stride, dilation, padding):
    n = x.ndim - 2
    stride, dilation = stride or (1,) * n, dilation or (1,) * n
    padding = padding or ((0, 0),) * n
    sizes = [
        out_size(s, k, step, sum(p), d)
        for s, k, step, p, d in zip(x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    ]
    return stride, dilation, padding, sizes


def direct(x, w, b=None, stride=None, dilation=None, padding=None):
    """y[n, o, p] = b[o] + sum over c and taps k of w[o, c, k] x[n, c, stride p + dilation k]."""
    stride, dilation, padding, sizes = _plan(x, w, stride, dilation, padding)
    x, w = pad(x, padding), np.asarray(w, np.float64)
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    for position in product(*map(range, sizes)):
        for tap in product(*map(range, w.shape[2:])):
            cell = tuple(s * p + d * k for s, p, d, k in zip(stride, position, dilation, tap, strict=True))
            y[(..., *position)] += x[(slice(None), slice(None), *cell)] @ w[(..., *tap)].T
    return y if b is None else y + np.reshape(b, (1, -1, *(1,) * len(sizes)))


def direct_gradients(x, w, dy, stride=None, dilation=None, padding=None):
    """Gradients of sum(y dy) with respect to x, w and b, tap by tap."""
    stride, dilation, padding, sizes = _plan(x, w, stride, dilation, padding)
    padded, w, dy = pad(x, padding), np.asarray(w, np.float64), np.asarray(dy, np.float64)
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for position in product(*map(range, sizes)):
        for tap in product(*map(range, w.shape[2:])):
            cell = tuple(s * p + d * k for s, p, d, k in zip(stride, position, dilation, tap, strict=True))
            here = (slice(None), slice(None), *cell)
            dx[here] += dy[(..., *position)] @ w[(..., *tap)]
            dw[(..., *tap)] += dy[(..., *position)].T @ padded[here]
    return _crop(dx, padding), dw, dy.sum(axis=(0, *range(2, dy.ndim)))


def _crop(padded, padding):
    inner = (
        slice(before, size - after) for (before, after), size in zip(padding, padded.shape[2:], strict=True)
    )
    return padded[(slice(None), slice(None), *inner)]


def _windows(sizes, kernel, stride, dilation):
    """For each axis an index (positions, taps) into the padded array."""
    return [
        step * np.arange(n)[:, None] + d * np.arange(k)[None, :]
        for n, k, step, d in zip(sizes, kernel, stride, dilation, strict=True)
    ]


def _open_index(indices):
    """Index arrays that pick (positions..., taps...) at once."""
    n = len(indices)
    return tuple(
        index.reshape(
            [index.shape[0] if i == a else 1 for i in range(n)]
            + [index.shape[1] if i == a else 1 for i in range(n)]
        )
        for a, index in enumerate(indices)
    )


def im2col(x, w, b=None, stride=None, dilation=None, padding=None):
    """The same as one matrix product: (positions, c_in taps) times (c_in taps, c_out)."""
    stride, dilation, padding, sizes = _plan(x, w, stride, dilation, padding)
    w = np.asarray(w, np.float64)
    index = _open_index(_windows(sizes, w.shape[2:], stride, dilation))
    columns = pad(x, padding)[(slice(None), slice(None), *index)]  # batch, c_in, positions, taps
    columns = np.moveaxis(columns, 1, 1 + len(sizes)).reshape(x.shape[0], int(np.prod(sizes)), -1)
    y = columns @ w.reshape(w.shape[0], -1).T
    y = np.moveaxis(y, 2, 1).reshape(x.shape[0], w.shape[0], *sizes)
    return y if b is None else y + np.reshape(b, (1, -1, *(1,) * len(sizes)))


def im2col_gradients(x, w, dy, stride=None, dilation=None, padding=None):
    """Gradients of sum(y dy) with respect to x, w and b, by the transposed matrix products."""
    stride, dilation, padding, sizes = _plan(x, w, stride, dilation, padding)
    w, dy, n = np.asarray(w, np.float64), np.asarray(dy, np.float64), len(sizes)
    index = _open_index(_windows(sizes, w.shape[2:], stride, dilation))
    padded = pad(x, padding)
    columns = padded[(slice(None), slice(None), *index)]
    columns = np.moveaxis(columns, 1, 1 + n).reshape(-1, w[0].size)
    rows = np.moveaxis(dy, 1, -1).reshape(-1, w.shape[0])
    dw = (rows.T @ columns).reshape(w.shape)
    dcolumns = (rows @ w.reshape(w.shape[0], -1)).reshape(x.shape[0], *sizes, w.shape[1], *w.shape[2:])
    dx = np.zeros_like(padded)
    np.add.at(dx, (slice(None), slice(None), *index), np.moveaxis(dcolumns, 1 + n, 1))
    return _crop(dx, padding), dw, rows.sum(axis=0)


def pooled(x, kernel, stride, reduce):
    """One value per window, by a NumPy function of (array, axis)."""
    sizes = [out_size(s, k, step) for s, k, step in zip(x.shape[2:], kernel, stride, strict=True)]
    y = np.zeros((*x.shape[:2], *sizes))
    for position in product(*map(range, sizes)):
        window = tuple(slice(s * p, s * p + k) for s, p, k in zip(stride, position, kernel, strict=True))
        y[(..., *position)] = reduce(x[(slice(None), slice(None), *window)], axis=tuple(range(2, x.ndim)))
    return y


def transposed(x, w, stride, padding):
    """Transposed convolution, weights (c_in, c_out, *kernel): each value spreads w[c, o] over the output."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    full = [s * (n - 1) + k for s, n, k in zip(stride, x.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[1], *full))
    for position in product(*map(range, x.shape[2:])):
        for tap in product(*map(range, w.shape[2:])):
            cell = tuple(s * p + k for s, p, k in zip(stride, position, tap, strict=True))
            y[(..., *cell)] += x[(slice(None), slice(None), *position)] @ w[(..., *tap)]
    return _crop(y, padding)


def batch_norm(x, weight, bias, mean=None, var=None, eps=1e-5):
    """Normalize each channel by the given statistics, or by those of x itself (training)."""
    x, axes = np.asarray(x, np.float64), (0, *range(2, x.ndim))
    mean = x.mean(axis=axes) if mean is None else mean
    var = x.var(axis=axes) if var is None else var
    shape = (1, -1, *(1,) * (x.ndim - 2))
    mean, var, weight, bias = (
        np.reshape(np.asarray(v, np.float64), shape) for v in (mean, var, weight, bias)
    )
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def leaky_relu(x, slope=0.01):
    """X where it is positive, slope times x elsewhere."""
    return np.where(x > 0, x, slope * x)
