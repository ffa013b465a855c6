"""The last parts of a forecasting network: from features at input steps to leads."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from stconv.nn.generator import Generator
from stconv.nn.heads import LeadHead, PaperHead
from stconv.nn.padding import GridPadding
from stconv.nn.settings import check_choice

Alignment = Literal["lead", "paper"]
"""`lead`: every lead sees every frame. `paper`: lead l is step l of the features, as published."""


def features_to_leads(
    alignment: Alignment,
    channels: int,
    c_out: int,
    t_in: int,
    leads: int,
    kernel: int,
    space_padding: GridPadding = "zero",
) -> tuple[nn.Module, nn.Module]:
    """Return the parts that turn features at input steps into leads: a generator (or an identity) and a head.

    Args:
        alignment: `lead` for a `LeadHead`, which needs no generator; `paper` for a `PaperHead`, after a
            `Generator` if there are more leads than input frames.
        channels: Number of feature channels.
        c_out: Number of target channels.
        t_in: Number of input frames.
        leads: Number of leads.
        kernel: Odd kernel size.
        space_padding: zero, replicate or periodic.

    Raises:
        ConfigError: A setting is out of its range.
    """
    check_choice("alignment", alignment, get_args(Alignment), "the network")
    check_choice("space_padding", space_padding, get_args(GridPadding), "the network")
    if alignment == "lead":
        return nn.Identity(), LeadHead(channels, c_out, t_in, leads, kernel, space_padding)
    if leads <= t_in:
        return nn.Identity(), PaperHead(channels, c_out, t_in, leads, kernel, space_padding)
    generator = Generator(channels, t_in, leads, kernel, space_padding)
    return generator, PaperHead(channels, c_out, leads, leads, kernel, space_padding)
