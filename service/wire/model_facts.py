"""Facts about a loaded model that the server decides by; clients get the whole input schema instead."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A variable that a model forecasts; the units are empty if unknown."""

    name: str
    units: str


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a loaded model.

    Attributes:
        sha256: Hash of the bundle.
        leads: Number of leads of one forecast.
        rolls_out: Whether longer forecasts are possible, because every input is also forecast.
        step: Time step as text, such as "6h".
        step_seconds: Length of the time step, s; None for a calendar step of unequal length.
        calendar: CF name of the calendar.
        geographic: Whether rows and columns are latitude and longitude.
        rows: Coordinates of the rows, ascending.
        columns: Coordinates of the columns, ascending; longitude from -180.
        targets: Variables of a forecast.
        bands: Endings of the names of the uncertainty bands.
        directions: Directions that follow from targets, without bands.
    """

    sha256: str
    leads: int
    rolls_out: bool
    step: str
    step_seconds: int | None
    calendar: str
    geographic: bool
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    targets: tuple[Target, ...]
    bands: tuple[str, ...]
    directions: tuple[Target, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all variables of a forecast."""
        bounded = [f"{target.name}{bound}" for target in self.targets for bound in ("", *self.bands)]
        return (*bounded, *(direction.name for direction in self.directions))

    @property
    def n_cells(self) -> int:
        """Number of cells of the grid."""
        return math.prod((len(self.rows), len(self.columns)))
