"""The contract of a layer with the search for receptive fields, `stconv.explain.reach`.

The search follows gradients through a copy of the network in which all weights are positive. It knows the
layers of torch; any other layer declares what else matters by the members below.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Probed(Protocol):
    """A layer whose gradients can be zero although a path leads from an input to an output."""

    def open_paths(self) -> None:
        """Change the layer, which belongs to a copy, such that positive weights give positive gradients.

        Bounds are lifted, a maximum becomes an average, and a value for each cell becomes one for all cells,
        so that the layer accepts any grid.
        """


@runtime_checkable
class Periodic(Protocol):
    """A layer for which cells are alike only at a distance, such as one in front of a coarser grid."""

    @property
    def grid_period(self) -> int:
        """Cells along lat and lon from a cell to the next that is treated alike."""
