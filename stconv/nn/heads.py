"""Heads, which turn features at the input steps into a forecast at the leads."""

from __future__ import annotations

from torch import Tensor, nn

from stconv.errors import ShapeError
from stconv.nn.conv import Convolution
from stconv.nn.padding import GridPadding
from stconv.nn.settings import check_count, check_odd


class LeadHead(nn.Module):
    """A convolution over all frames at once, with separate filters for each lead.

    The kernel is (t_in, k, k), without padding in time, so that every lead sees every frame, the newest
    included, for any t_in >= 1 and any number of leads >= 1. Leads differ by their filters, not by a position
    in a sequence.

    Args:
        c_in: Number of feature channels.
        c_out: Number of target channels.
        t_in: Number of steps of the features.
        leads: Number of leads.
        kernel: Odd size k along lat and lon.
        space_padding: zero, replicate or periodic.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self, c_in: int, c_out: int, t_in: int, leads: int, kernel: int, space_padding: GridPadding = "zero"
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.c_out, self.leads = check_count("c_out", c_out, where), check_count("leads", leads, where)
        check_count("t_in", t_in, where)
        check_odd("kernel", kernel, where)
        self.convolution = Convolution(
            c_in, c_out * leads, (t_in, kernel, kernel), time_padding="valid", space_padding=space_padding,
            bias=True, norm="none", activation="none",
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, t_in, lat, lon) to (batch, c_out, leads, lat, lon)."""
        y: Tensor = self.convolution(x)
        if y.shape[2] != 1:
            raise ShapeError(f"LeadHead got {x.shape[2]} steps, expected {x.shape[2] - y.shape[2] + 1}.")
        return y.unflatten(1, (self.c_out, self.leads)).squeeze(3)


class PaperHead(nn.Module):
    """The head of the paper: a (k, k, k) convolution with bias whose step l is lead l.

    With fewer leads than steps the first steps are used: the paper pairs step l with lead l, so that a
    network for two leads gives the first two leads of one for five. (Using the newest steps would be another
    alignment; for that, take `LeadHead`.) Unused steps are not computed.

    Args:
        c_in: Number of feature channels.
        c_out: Number of target channels.
        t_in: Number of steps of the features.
        leads: Number of leads, at most t_in.
        kernel: Odd size k along time, lat and lon.
        space_padding: zero, replicate or periodic.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Castro et al. (2021), Neurocomputing 426.
    """

    def __init__(
        self, c_in: int, c_out: int, t_in: int, leads: int, kernel: int, space_padding: GridPadding = "zero"
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_count("leads", leads, where)
        check_count("t_in", t_in, f"{where} with {leads} leads", at_least=leads)
        half = check_odd("kernel", kernel, where) // 2
        self.convolution = Convolution(
            c_in, c_out, kernel, time_padding=(half, leads - t_in + half), space_padding=space_padding,
            bias=True, norm="none", activation="none",
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, c_in, t_in, lat, lon) to (batch, c_out, leads, lat, lon)."""
        y: Tensor = self.convolution(x)
        return y
