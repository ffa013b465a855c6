"""Recurrent cells whose states are fields.

A frame is (batch, channel, 1, lat, lon); each gate is a convolution (1, k, k).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stconv.nn.conv import Convolution
from stconv.nn.padding import GridPadding

State = tuple[Tensor, ...]
"""State that a cell passes to its next step."""


def _gates(c_in: int, c_out: int, kernel: int, space_padding: GridPadding) -> Convolution:
    return Convolution(
        c_in, c_out, (1, kernel, kernel), space_padding=space_padding,
        bias=True, norm="none", activation="none",
    )  # fmt: skip


class ConvLSTMCell(nn.Module):
    """A long short-term memory cell with convolutions in place of matrix products, without peepholes.

    i, f, o, g = W * [x, h];  c = sigmoid(f) c + sigmoid(i) tanh(g);  h = sigmoid(o) tanh(c)

    Args:
        c_in: Number of channels of x.
        channels: Number of channels of the state.
        kernel: Odd size k along lat and lon.
        space_padding: zero, replicate or periodic.

    Source:
        Shi et al. (2015), arXiv 1506.04214, equation 3 without the terms of the cell state.
    """

    def __init__(self, c_in: int, channels: int, kernel: int, space_padding: GridPadding = "zero") -> None:
        super().__init__()
        self.channels = channels
        self.gates = _gates(c_in + channels, 4 * channels, kernel, space_padding)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> State:
        """Return the new (h, c)."""
        i, f, o, g = self.gates(torch.cat((x, h), 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class SpatioTemporalCell(nn.Module):
    """The cell of PredRNN: memory c passes through time, memory m through all layers.

    c = f c + i g, gates from [x, h];  m = f' m + i' g', gates from [x, m]
    h = sigmoid(W * [x, h] + V * [c, m]) tanh(U [c, m])

    Args:
        c_in: Number of channels of x.
        channels: Number of channels of each of h, c and m.
        kernel: Odd size k along lat and lon.
        space_padding: zero, replicate or periodic.

    Source:
        Wang et al. (2017), PredRNN, NeurIPS 30, equation 4.
    """

    def __init__(self, c_in: int, channels: int, kernel: int, space_padding: GridPadding = "zero") -> None:
        super().__init__()
        self.channels = channels
        self.temporal = _gates(c_in + channels, 4 * channels, kernel, space_padding)
        self.spatial = _gates(c_in + channels, 3 * channels, kernel, space_padding)
        self.output = _gates(2 * channels, channels, kernel, space_padding)
        self.fusion = _gates(2 * channels, channels, 1, space_padding)

    def forward(self, x: Tensor, h: Tensor, c: Tensor, m: Tensor) -> State:
        """Return the new (h, c, m)."""
        i, f, o, g = self.temporal(torch.cat((x, h), 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        i, f, g = self.spatial(torch.cat((x, m), 1)).chunk(3, 1)
        m = torch.sigmoid(f) * m + torch.sigmoid(i) * torch.tanh(g)
        both = torch.cat((c, m), 1)
        return torch.sigmoid(o + self.output(both)) * torch.tanh(self.fusion(both)), c, m
