"""Kinds of convolution by name, for configurations of every family that takes a `ConvolutionMaker`."""

from __future__ import annotations

from typing import Literal, get_args

from stconv.nn.conv import Convolution, ConvolutionMaker, Factored, LightFactored
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable
from stconv.nn.settings import check_choice

Kind = Literal["full", "factored", "light", "depthwise", "separable"]
"""`full`: one kernel over all axes. `factored`: (2+1)D, in space, then in time, at the cost of a full one.
`light`: (2+1)D with no more channels between the two than come out. `depthwise`: each channel separately,
then across channels. `separable`: along lat, then lon, then time."""


def maker_of(kind: Kind, where: str) -> ConvolutionMaker:
    """Return the maker of a kind of convolution.

    Raises:
        ConfigError: The kind is unknown.
    """
    check_choice("convolution", kind, get_args(Kind), where)
    makers: dict[Kind, ConvolutionMaker] = {
        "full": Convolution,
        "factored": Factored,
        "light": LightFactored,
        "depthwise": DepthwiseSeparable,
        "separable": AxisSeparable,
    }
    return makers[kind]
