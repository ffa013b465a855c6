"""Kinds of convolution by name, so that a configuration can choose one for any family that takes a maker."""

from __future__ import annotations

from typing import Literal, get_args

from stconv.nn.conv import Convolution, ConvolutionMaker, Factored
from stconv.nn.separable import AxisSeparable, DepthwiseSeparable
from stconv.nn.settings import check_choice

Kind = Literal["full", "factored", "depthwise", "separable"]
"""full: one kernel over all axes. factored: (2+1)D, in space, then in time. depthwise: each channel by
itself, then the channels of a cell. separable: along lat, then lon, then time."""


def maker_of(kind: Kind, where: str) -> ConvolutionMaker:
    """Return what makes a convolution of this kind.

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
