"""Recurrent networks, which read the frames and then continue for as many steps as there are leads."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from stconv.models.registry import Network, register
from stconv.nn.conv import Convolution
from stconv.nn.padding import GridPadding
from stconv.nn.recurrent import ConvLSTMCell, SpatioTemporalCell
from stconv.nn.residual import channel_dropout
from stconv.nn.settings import check_count, check_odd

Memory = dict[str, list[Tensor]]
"""States of all layers, by their name in the cell."""


class Recurrent(Network):
    """Layers of recurrent cells that read all frames and then their own forecasts.

    Lead 1 is the output for the newest frame; each later lead is the output when the previous lead is read
    like an observed frame. Every lead therefore sees all frames.

    Args:
        c_in: Number of input channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        n_layers: Number of stacked cells.
        n_filters: Number of channels of each state.
        kernel: Odd kernel size along lat and lon.
        space_padding: Values beyond the grid: zero, replicate, or periodic in longitude.
        dropout: Share of channels dropped before the head, at each step, in training.

    Raises:
        ConfigError: A setting is out of its range.
    """

    cell: type[ConvLSTMCell] | type[SpatioTemporalCell]

    def __init__(
        self,
        c_in: int,
        c_out: int,
        t_in: int,
        leads: int,
        *,
        n_layers: int = 2,
        n_filters: int = 32,
        kernel: int = 3,
        space_padding: GridPadding = "zero",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(c_in, c_out, t_in, leads)
        d, where = n_filters, type(self).__name__
        check_count("n_filters", d, where)
        check_odd("kernel", kernel, where)

        def plain(before: int, after: int, size: int) -> Convolution:
            return Convolution(
                before, after, (1, size, size), space_padding=space_padding,
                bias=True, norm="none", activation="none",
            )  # fmt: skip

        widths = [d] * (check_count("n_layers", n_layers, where) + 1)
        self.read = plain(c_in, d, kernel)
        self.read_forecast = plain(c_out, d, kernel) if leads > 1 else None
        self.cells = nn.ModuleList(self.cell(a, b, kernel, space_padding) for a, b in pairwise(widths))
        self.dropout = channel_dropout(dropout)
        self.head = plain(d, c_out, 1)

    def compute(self, x: Tensor) -> Tensor:
        """Read the frames, then forecast the leads one by one."""
        memory = self.remember_nothing(x)
        for frame in x.split(1, dim=2):
            top = self.step(self.read(frame), memory)
        forecasts = [self.head(self.dropout(top))]
        for _ in range(self.leads - 1):
            assert self.read_forecast is not None
            top = self.step(self.read_forecast(forecasts[-1]), memory)
            forecasts.append(self.head(self.dropout(top)))
        return torch.cat(forecasts, dim=2)

    def remember_nothing(self, x: Tensor) -> Memory:
        """Return zero states h and c for all layers."""
        zero = x.new_zeros(x.shape[0], self.head.conv.in_channels, 1, *x.shape[-2:])
        return {"h": [zero] * len(self.cells), "c": [zero] * len(self.cells)}

    def step(self, x: Tensor, memory: Memory) -> Tensor:
        """Advance all states by one step, and return the topmost h."""
        raise NotImplementedError


@register
class ConvLSTM(Recurrent):
    """Layers of ConvLSTM cells, each of which passes its h to the layer above.

    Source:
        Shi et al. (2015), arXiv 1506.04214.
    """

    cell = ConvLSTMCell

    def step(self, x: Tensor, memory: Memory) -> Tensor:
        """Advance h and c by one step, layer by layer."""
        for i, cell in enumerate(self.cells):
            x, memory["c"][i] = cell(x, memory["h"][i], memory["c"][i])
            memory["h"][i] = x
        return x


@register
class PredRNN(Recurrent):
    """Layers of spatio-temporal cells; memory m passes up through them, then to the lowest at the next step.

    Source:
        Wang et al. (2017), PredRNN, NeurIPS 30.
    """

    cell = SpatioTemporalCell

    def step(self, x: Tensor, memory: Memory) -> Tensor:
        """Advance h, c and m by one step, layer by layer."""
        (m,) = memory.get("m", [memory["c"][0]])
        for i, cell in enumerate(self.cells):
            x, memory["c"][i], m = cell(x, memory["h"][i], memory["c"][i], m)
            memory["h"][i] = x
        memory["m"] = [m]
        return x
