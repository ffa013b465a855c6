"""Forecast of one cell as JSON in the form of Open-Meteo."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from service.formats.answers import nested
from service.formats.layout import field_names, find_layout
from service.formats.statement import statement
from stconv.clock import DAY, HOUR, MINUTE
from stconv.datasets.source.time_axis import TimeStep
from stconv.errors import GridError
from stconv.forecast.output import reference_of, valid_time_of
from stconv.sphere import wrapped


def block_name(step: TimeStep) -> str:
    """Open-Meteo's name for a block of this step: hourly (also for 3 or 6 hours), daily, monthly."""
    if step.kind != "fixed":
        return f"{step.kind}ly" if step.label == f"{step.n}{step.kind}" else step.label.replace(" ", "_")
    if step.seconds % DAY.seconds == 0:
        return "daily"
    if step.seconds % HOUR.seconds == 0:
        return "hourly"
    return f"minutely_{step.seconds // MINUTE.seconds}"


def nearest_cell(
    latitudes: np.ndarray, longitudes: np.ndarray, latitude: float, longitude: float
) -> tuple[int, int]:
    """Find the row and column of the cell that contains a point; longitude in -180 to 180 or 0 to 360.

    Raises:
        GridError: The point is more than half a cell outside the grid.
    """
    south_north = np.abs(latitudes - latitude)
    west_east = np.abs(wrapped(longitudes - longitude))
    row, column = int(south_north.argmin()), int(west_east.argmin())
    for name, distance, axis in (
        ("latitude", south_north[row], latitudes),
        ("longitude", west_east[column], longitudes),
    ):
        if distance > _cell_size(axis) / 2 * (1 + 1e-6):
            asked = latitude if name == "latitude" else longitude
            raise GridError(
                f"{name} {asked:g} is outside the model's grid, which reaches from {axis.min():g} to "
                f"{axis.max():g}. Choose a point inside."
            )
    return row, column


def point_answer(forecast: xr.Dataset, step: TimeStep, latitude: float, longitude: float) -> bytes:
    """Cut one cell out of a canonical forecast and write it as JSON.

    Args:
        forecast: Variables (lead, lat, lon) on canonical axes.
        step: Time step of the forecast.
        latitude: Degrees north.
        longitude: Degrees east.

    Raises:
        GridError: The grid is not geographic, or the point is outside the grid.
    """
    layout = find_layout(forecast)
    if not layout.geographic:
        raise GridError(
            "The model's grid is not geographic, so a point cannot be given by latitude and longitude. Use "
            "/v1/forecasts/latest for the whole field."
        )
    row, column = nearest_cell(layout.rows, layout.columns, latitude, longitude)
    names = field_names(forecast)
    times = [text[:16] for text in nested(forecast[valid_time_of(forecast)])]
    block = block_name(step)
    said = statement(forecast)
    answer: dict[str, Any] = {
        "latitude": float(layout.rows[row]),
        "longitude": float(wrapped(layout.columns[column])),
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "model": said.pop("model_name", None),
        "reference_time": nested(forecast[reference_of(forecast)])[:16],
        f"{block}_units": {"time": "iso8601"} | {n: str(forecast[n].attrs.get("units", "")) for n in names},
        block: {"time": times}
        | {name: nested(layout.fields(forecast[name])[:, row, column]) for name in names},
    }
    return json.dumps(answer | said, allow_nan=False).encode()


def _cell_size(axis: np.ndarray) -> float:
    """The largest step between neighbors; for longitudes, the turn from 358 to 0 does not count."""
    steps = np.abs(wrapped(np.diff(axis)))
    return float(steps.max()) if axis.size > 1 else float("inf")
