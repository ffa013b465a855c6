"""Selection of a part of a forecast for an EDR query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from covjson_pydantic.coverage import Coverage, CoverageCollection
from covjson_pydantic.domain import DomainType

from service.formats.answers import chosen
from service.formats.coverage import grid_coverage, point_coverage, utc_times
from service.formats.layout import Layout, find_layout
from service.model.point import nearest_cell
from service.wire.model_messages import AtPosition, AtPositions, Cut, InArea, InCube
from stconv.errors import GridError, TimeAxisError
from stconv.forecast.output import lead_of
from stconv.sphere import TURN, within, within_longitudes


def cut_answer(forecast: xr.Dataset, cut: Cut) -> bytes:
    """Write a position, an area or a cube of a forecast as CoverageJSON.

    Args:
        forecast: Result of `Forecaster.forecast`.
        cut: Selected cells, valid times and variables.

    Raises:
        GridError: The selection is outside the grid, or the grid is not geographic.
        TimeAxisError: No valid time is in the interval.
        VariableError: A variable is not forecast.
    """
    forecast = _within(chosen(forecast, cut.variables), cut.start, cut.end)
    layout = find_layout(forecast)
    if not layout.geographic:
        raise GridError("The model's grid is not geographic. Use /v1/forecasts/latest for the whole field.")
    coverage = _COVERAGES[type(cut.where)](forecast, layout, cut.where)
    return coverage.model_dump_json(exclude_none=True).encode()


def _at_position(forecast: xr.Dataset, layout: Layout, where: AtPosition) -> Coverage:
    row, column = nearest_cell(layout.rows, layout.columns, where.latitude, where.longitude)
    return point_coverage(forecast, layout, row, column)


def _at_positions(forecast: xr.Dataset, layout: Layout, where: AtPositions) -> CoverageCollection:
    coverages = [_at_position(forecast, layout, point) for point in where.points]
    return CoverageCollection(domainType=DomainType.point_series, coverages=coverages)


def _in_cube(forecast: xr.Dataset, layout: Layout, where: InCube) -> Coverage:
    rows = within(layout.rows, where.south, where.north)
    columns = within_longitudes(layout.columns, where.west, where.east)
    return grid_coverage(*_cut(forecast, layout, rows, columns))


def _in_area(forecast: xr.Dataset, layout: Layout, where: InArea) -> Coverage:
    inside = np.any([_inside(layout, polygon) for polygon in where.polygons], axis=0)
    mask = xr.DataArray(inside, dims=(layout.y, layout.x))
    masked = forecast.map(lambda array: array.where(mask), keep_attrs=True)
    return grid_coverage(*_cut(masked, layout, np.any(inside, axis=1), np.any(inside, axis=0)))


_COVERAGES: dict[type, Callable[[xr.Dataset, Layout, Any], Coverage | CoverageCollection]] = {
    AtPosition: _at_position,
    AtPositions: _at_positions,
    InArea: _in_area,
    InCube: _in_cube,
}


def _within(forecast: xr.Dataset, start: str | None, end: str | None) -> xr.Dataset:
    times = [datetime.fromisoformat(text) for text in utc_times(forecast)]
    first = datetime.fromisoformat(start) if start else times[0]
    last = datetime.fromisoformat(end) if end else times[-1]
    kept = [i for i, time in enumerate(times) if first <= time <= last]
    if not kept:
        raise TimeAxisError(
            f"No valid time lies between {start or '..'} and {end or '..'}; the forecast reaches from "
            f"{times[0]:%FT%TZ} to {times[-1]:%FT%TZ}."
        )
    return forecast.isel({lead_of(forecast): kept})


def _cut(
    forecast: xr.Dataset, layout: Layout, rows: np.ndarray, columns: np.ndarray
) -> tuple[xr.Dataset, Layout]:
    if not (rows.any() and columns.any()):
        y, x = layout.rows, layout.columns
        raise GridError(
            f"No cell center is in this area: the model's grid reaches from {y.min():g} to {y.max():g} "
            f"degrees north and has {x.size} columns from {x[0]:g} to {x[-1]:g} degrees east."
        )
    cut = forecast.isel({layout.y: np.flatnonzero(rows), layout.x: np.flatnonzero(columns)})
    return cut, Layout(layout.lead, layout.y, layout.x, layout.rows[rows], layout.columns[columns], True)


def _inside(layout: Layout, rings: Sequence[Sequence[tuple[float, float]]]) -> np.ndarray:
    """Mask of the cells whose center is in the polygon, bool, (row, column), by the even-odd rule."""
    west = min(x for x, _ in rings[0])
    x = ((layout.columns - west) % TURN + west)[None, :]
    y = layout.rows[:, None]
    odd = np.zeros((y.size, x.size), bool)
    for (x0, y0), (x1, y1) in (side for ring in rings for side in pairwise(ring)):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        odd ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd
