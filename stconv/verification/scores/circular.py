"""Directions among the scored variables: angles of sine and cosine, and their errors on the circle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stconv.sphere import TURN, wrapped


@dataclass(frozen=True)
class Circle:
    """A direction, and the channels of its sine and cosine.

    Attributes:
        name: Name of the direction.
        sine: Channel of the sine.
        cosine: Channel of the cosine.
    """

    name: str
    sine: int
    cosine: int


def circles(directions: Sequence[str], variables: Sequence[str]) -> tuple[Circle, ...]:
    """Find the channels of directions; each has both components among the variables."""
    at = {name: channel for channel, name in enumerate(variables)}
    return tuple(Circle(name, at[f"{name}_sin"], at[f"{name}_cos"]) for name in directions)


def with_angles(field: Tensor, directions: Sequence[Circle]) -> Tensor:
    """Append directions to the channels of a field.

    Args:
        field: (batch, channel, leads, lat, lon); NaN is missing.
        directions: Directions to append.

    Returns:
        (batch, channel + direction, leads, lat, lon); directions in [0, 360) degrees.

    Source:
        Mardia and Jupp (2000), Directional Statistics, section 2.2.1: the direction of a mean of sines and
        cosines, such as a climatology or a mean of members.
    """
    angles = [torch.rad2deg(torch.atan2(field[:, d.sine], field[:, d.cosine])) % TURN for d in directions]
    return torch.cat([field, *(angle[:, None] for angle in angles)], dim=1) if angles else field


def known_angles(known: Tensor, directions: Sequence[Circle]) -> Tensor:
    """Append to a mask of cells, bool, (channel, lat, lon), those where both components are known."""
    both = [known[d.sine] & known[d.cosine] for d in directions]
    return torch.cat([known, *(mask[None] for mask in both)]) if both else known


def difference(first: Any, second: Any, circular: Any) -> Any:
    """Return first - second; on the circle the smallest angle, in [-180, 180) degrees.

    Args:
        first: Tensors or arrays, (batch, channel, leads, lat, lon).
        second: Shaped like the first.
        circular: Whether a channel is a direction, bool, (channel,).

    Source:
        Jammalamadaka and SenGupta (2001), Topics in Circular Statistics, section 1.3.2: the distance of two
        points on a circle is the smaller arc between them.
    """
    apart = first - second
    if any(circular):
        apart[:, circular] = wrapped(apart[:, circular])
    return apart
