"""Settings of further scores: thresholds, regions, seasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stconv.errors import ConfigError
from stconv.sphere import within, within_longitudes
from stconv.verification.scores.thresholds import SCALES

SEASONS = {"Dec-Feb": (12, 1, 2), "Mar-May": (3, 4, 5), "Jun-Aug": (6, 7, 8), "Sep-Nov": (9, 10, 11)}


@dataclass(frozen=True)
class Scoring:
    """Further scores of a test, besides the errors over all cells and windows.

    Attributes:
        thresholds: By target, in its units: CSI, POD, FAR, frequency bias and FSS of values at or above them.
        scales: Sides of the squares of the FSS, odd numbers of cells.
        regions: By name: first and last latitude, first and last longitude (y, then x, on other grids),
            scored separately.
        seasons: Whether three-month seasons are scored separately, if the test period has several.
        optical_flow: Whether the optical flow of pysteps is another reference; it needs
            ``pip install 'stconv[pysteps]'``.
    """

    thresholds: dict[str, list[float]] | None = None
    scales: tuple[int, ...] = SCALES
    regions: dict[str, list[float]] | None = None
    seasons: bool = True
    optical_flow: bool = False


def region_mask(
    name: str, box: Sequence[float], lat: np.ndarray, lon: np.ndarray, geographic: bool = True
) -> np.ndarray:
    """Cells in a box, bounds included; on a geographic grid it may cross the date line.

    Args:
        name: Name of the region, for messages.
        box: First and last latitude (or y), first and last longitude (or x).
        lat: Coordinate of the rows.
        lon: Coordinate of the columns, in [-180, 180) plus the width of the grid where geographic.
        geographic: Whether the coordinates are degrees; longitudes of the box may then be 0 to 360 as well.

    Returns:
        bool, (lat, lon).

    Raises:
        ConfigError: The box does not have four numbers, is upside down, or contains no cell.
    """
    if len(box) != 4 or box[0] > box[1]:
        raise ConfigError(
            f"Region '{name}' is {list(box)}; expected four numbers: first and last latitude (ascending), "
            "first and last longitude."
        )
    south, north, west, east = box
    columns = within_longitudes(lon, west, east) if geographic else within(lon, west, east)
    mask = within(lat, south, north)[:, None] & columns
    if not mask.any():
        raise ConfigError(
            f"Region '{name}' {list(box)} contains no cell of the grid, which extends from {lat[0]:g} to "
            f"{lat[-1]:g} and from {lon[0]:g} to {lon[-1]:g}."
        )
    return mask
