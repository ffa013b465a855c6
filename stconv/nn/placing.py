"""The place of a part of the grid, for modules with a parameter for each cell."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


class PerCell(nn.Module):
    """A module with a parameter for each cell of its own grid.

    Attributes:
        place: Rows and columns of the grid that its next inputs hold, int64; None for the whole grid.
    """

    place: tuple[Tensor, Tensor] | None = None

    def open_paths(self) -> None:
        """Accept any grid, with the mean of the parameter in every cell."""
        raise NotImplementedError

    def at_place(self, parameter: Tensor) -> Tensor:
        """Return the parameter of the cells at the place, (..., lat, lon)."""
        if self.place is None:
            return parameter
        rows, columns = self.place
        return parameter.index_select(-2, rows).index_select(-1, columns)


@contextmanager
def placed(network: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """Tell a network that its inputs hold a part of the grid, while the block runs.

    Args:
        network: The network.
        rows: Rows of the part on the whole grid, int64, (lat,).
        columns: Columns of the part, int64, (lon,).
    """
    parts = [module for module in network.modules() if isinstance(module, PerCell)]
    for part in parts:
        part.place = rows, columns
    try:
        yield
    finally:
        for part in parts:
            part.place = None


def anywhere(network: N) -> N:
    """Return a copy that takes any grid, with the mean of each parameter that belongs to cells."""
    found = copy.deepcopy(network)
    for module in found.modules():
        if isinstance(module, PerCell):
            module.open_paths()
    return found
