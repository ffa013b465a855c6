"""Kinds of convolution by name, for configurations of every family that takes a `ConvolutionMaker`."""

from __future__ import annotations

from typing import Literal, get_args

from stconv.nn.conv import Convolution, ConvolutionMaker, Factored
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable
from stconv.nn.settings import check_choice

Kind = Literal["full", "factored", "depthwise", "separable"]
"""`full`: one kernel over all axes. `factored`: (2+1)D, in space, then in time. `depthwise`: each channel
separately, then across channels. `separable`: along lat, then lon, then time."""


def maker_of(kind: Kind, where: str) -> ConvolutionMaker:
    """Return the maker of a kind of convolution.

    Raises:
        ConfigError: The kind is unknown.
    """
    check_choice("convolution", kind, get_args(Kind), where)
    makers: dict[Kind, ConvolutionMaker] = {
        "full": Convolution,
        "factored": Factored,
        "depthwise": DepthwiseSeparable,
        "separable": AxisSeparable,
    }
    return makers[kind]
