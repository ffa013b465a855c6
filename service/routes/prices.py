"""The price of an answer: its number of values, held to the limits before any work."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import numpy as np

from service.archive.table import StoredForecast
from service.media_types import COVERAGE, JSON
from service.problems import TooLarge, Unprocessable
from service.settings import Settings
from service.wire.model_messages import AtPosition, AtPositions, InArea, InCube
from service.workers.worker import Worker
from stconv.sphere import within, within_longitudes

TEXT = (JSON, COVERAGE)


def check_steps(worker: Worker, steps: int | None, settings: Settings) -> None:
    """Refuse a request for more leads than the limit, or than the model can forecast.

    Raises:
        Unprocessable: The request exceeds the limit.
    """
    if steps is None:
        return
    if steps > worker.facts.leads and not worker.facts.rolls_out:
        raise Unprocessable(
            f"{steps} steps were requested; {worker.name} forecasts {worker.facts.leads} and cannot be "
            "rolled out, because some of its inputs are not forecast.",
            kind="steps",
            steps=steps,
            limit=worker.facts.leads,
        )
    if steps > settings.max_steps:
        raise Unprocessable(
            f"{steps} steps were requested; at most {settings.max_steps} are allowed.",
            kind="steps",
            steps=steps,
            limit=settings.max_steps,
        )


def check_price(
    worker: Worker,
    steps: int | None,
    settings: Settings,
    media_type: str,
    variables: Collection[str] | None = None,
    bands: bool = True,
) -> int:
    """Refuse a forecast with too many values before it is computed; text formats have a lower limit.

    Returns:
        Number of values to compute.

    Raises:
        TooLarge: The forecast exceeds the limit.
    """
    leads, cells = steps or worker.facts.leads, count_cells(worker)
    computed = check_computed(worker, steps, settings, bands)
    _check_answer(leads * cells * _count_names(worker, variables, bands), media_type, settings)
    return computed


def check_computed(worker: Worker, steps: int | None, settings: Settings, bands: bool = True) -> int:
    """Refuse a forecast of which too many values would be computed, however few of them are answered.

    Returns:
        Number of values to compute.

    Raises:
        TooLarge: The forecast exceeds the limit.
    """
    values = count_values(worker, steps or worker.facts.leads, bands)
    _hold(values, settings.max_output_values, "")
    return values


def check_cut(
    worker: Worker,
    leads: int,
    where: AtPosition | AtPositions | InArea | InCube,
    variables: Collection[str] | None,
    settings: Settings,
) -> None:
    """Refuse a part of a forecast that would be too large as text.

    Raises:
        TooLarge: The part exceeds the limit.
    """
    values = leads * _count_cut(worker, where) * _count_names(worker, variables, True)
    _check_answer(values, COVERAGE, settings)


def check_stored(
    stored: StoredForecast, settings: Settings, media_type: str, variables: Collection[str] | None = None
) -> None:
    """Refuse to read a stored forecast that has too many values for the format.

    Raises:
        TooLarge: It exceeds the limit.
    """
    shapes = stored.shapes
    values = sum(math.prod(shape) for name, shape in shapes.items() if variables is None or name in variables)
    _check_answer(values, media_type, settings)


def count_values(worker: Worker, leads: int, bands: bool = True) -> int:
    """Number of values of a forecast: cells x leads x variables."""
    return leads * count_cells(worker) * _count_names(worker, None, bands)


def count_cells(worker: Worker) -> int:
    """Number of cells of a model's grid."""
    return worker.facts.n_cells


def _count_names(worker: Worker, variables: Collection[str] | None, bands: bool) -> int:
    facts = worker.facts
    every = len(facts.targets) * (1 + bands * len(facts.bands)) + len(facts.directions)
    return every if variables is None else min(every, len(set(variables)))


def _count_cut(worker: Worker, where: AtPosition | AtPositions | InArea | InCube) -> int:
    """Number of cells in the answer: points, or the rows and columns of the box around an area."""
    if isinstance(where, AtPosition):
        return 1
    if isinstance(where, AtPositions):
        return len(where.points)
    boxes = [where] if isinstance(where, InCube) else [_box(polygon[0]) for polygon in where.polygons]
    facts = worker.facts
    if not facts.geographic:
        return 0  # refused by the model
    lat, lon = np.asarray(facts.rows), np.asarray(facts.columns)
    rows = np.any([within(lat, box.south, box.north) for box in boxes], axis=0)
    columns = np.any([within_longitudes(lon, box.west, box.east) for box in boxes], axis=0)
    return int(rows.sum()) * int(columns.sum())


def _box(ring: Iterable[tuple[float, float]]) -> InCube:
    x, y = zip(*ring, strict=True)
    return InCube(min(x), min(y), max(x), max(y))


def _check_answer(values: int, media_type: str, settings: Settings) -> None:
    if media_type in TEXT:
        _hold(values, min(settings.max_output_values, settings.max_text_values), " as text", ", or NetCDF")
    else:
        _hold(values, settings.max_output_values, "")


def _hold(values: int, limit: int, how: str, otherwise: str = "") -> None:
    if values > limit:
        raise TooLarge(
            f"The forecast would have {values} values; at most {limit} are allowed{how}. Request fewer "
            f"steps, a smaller area or fewer variables{otherwise}.",
            values=values,
            limit=limit,
        )
