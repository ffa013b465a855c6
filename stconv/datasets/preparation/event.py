"""The definition of an event that does or does not happen in a region at a time; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from stconv.dims import LON
from stconv.errors import ConfigError
from stconv.sphere import within, within_longitudes

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

Side = Literal["at_least", "at_most"]


@dataclass(frozen=True)
class Event:
    """An event such as "at least 0.5 mm of rain on a tenth of the region".

    Attributes:
        variable: Target variable of the event.
        threshold: Threshold in the units of that target. Several, in ascending order, define mutually
            exclusive classes, one more than thresholds.
        side: at_least or at_most: whether a cell counts with values above or below the threshold, inclusive.
        share: Fraction of the region's cells that must pass the threshold, in [0, 1]; 0 means a single cell.
        region: First and last coordinate by dimension, as in {lat: [30, 45], lon: [-100, -80]}; an omitted
            dimension is taken whole. A longitude range may cross the date line.
        name: Name of the event in scores and forecasts.
    """

    variable: str
    threshold: float | list[float]
    side: Side = "at_least"
    share: float = 0.0
    region: dict[str, list[float]] = field(default_factory=dict)
    name: str = "event"

    def __post_init__(self) -> None:
        thresholds = self.thresholds
        if not thresholds or any(a >= b for a, b in pairwise(thresholds)):
            raise ConfigError(
                f"threshold of event '{self.name}' is {self.threshold}; expected a number, or several in "
                "ascending order."
            )
        if self.side not in get_args(Side):
            raise ConfigError(
                f"side of event '{self.name}' is {self.side!r}; expected one of: {', '.join(get_args(Side))}."
            )
        if not 0 <= self.share <= 1:
            raise ConfigError(
                f"share of event '{self.name}' is {self.share}; expected a fraction of the region's cells "
                "from 0 (a single one) to 1 (all)."
            )
        for dim, bounds in self.region.items():
            if len(bounds) != 2:
                raise ConfigError(
                    f"region of event '{self.name}' has {len(bounds)} numbers along {dim}; expected two: "
                    "first and last."
                )

    @property
    def thresholds(self) -> list[float]:
        """Thresholds, ascending."""
        return [self.threshold] if isinstance(self.threshold, int | float) else list(self.threshold)

    @property
    def n_classes(self) -> int:
        """1 for a yes-or-no event, else the number of mutually exclusive classes."""
        return 1 if len(self.thresholds) == 1 else len(self.thresholds) + 1

    @property
    def names(self) -> list[str]:
        """Name of the event, or of each class, from no threshold passed to all."""
        return [self.name] if self.n_classes == 1 else [f"{self.name}_{k}" for k in range(self.n_classes)]

    def text(self, units: str = "") -> str:
        """The event in words."""
        bounds = " and ".join(f"{threshold:.10g}" for threshold in self.thresholds)
        cells = f"{100 * self.share:g} % of the cells" if self.share else "some cell"
        region = ", ".join(f"{dim} {first:g} to {last:g}" for dim, (first, last) in self.region.items())
        what = f"{self.variable} {self.side.replace('_', ' ')} {bounds} {units}".rstrip()
        return f"{what} in {cells}" + (f" of {region}" if region else "")

    def cells(self, series: Series) -> np.ndarray:
        """Mask of the cells in the region, bool, (lat, lon).

        Raises:
            ConfigError: The grid lacks a dimension, or no cell lies in the region.
        """
        dims = ("lat", "lon") if series.geographic else ("y", "x")
        unknown = sorted(set(self.region) - set(dims))
        if unknown:
            raise ConfigError(
                f"region of event '{self.name}' names {', '.join(unknown)}; the grid has "
                f"{' and '.join(dims)}."
            )
        inside = [
            self._along(dim, np.asarray(axis, dtype=float))
            for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
        ]
        cells = inside[0][:, None] & inside[1][None]
        if not cells.any():
            extents = ", ".join(
                f"{dim} {float(axis[0]):g} to {float(axis[-1]):g}"
                for dim, axis in zip(dims, (series.lat, series.lon), strict=True)
            )
            raise ConfigError(
                f"no cell lies in the region {self.region} of event '{self.name}'; the grid has {extents}."
            )
        return cells

    def _along(self, dim: str, axis: np.ndarray) -> np.ndarray:
        if dim not in self.region:
            return np.ones(len(axis), dtype=bool)
        return (within_longitudes if dim == LON else within)(axis, *self.region[dim])
