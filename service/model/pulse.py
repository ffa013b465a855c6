"""Signs of life of the model's process, and the probe: a forecast whenever none was made for a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from service.wire.model_messages import (
    AdvanceJob,
    CutNewest,
    CutStored,
    ForecastNewest,
    ForecastPoint,
    ForecastUpload,
    Pulse,
    ReadStored,
    ReadTruth,
    UpdateArchive,
)

if TYPE_CHECKING:
    from service.model.loaded import LoadedModel

BEAT_SECONDS = 1.0
PROBE = -2
"""Number of the probe among the requests."""
COSTLY = 20
"""A probe may take one part in so many of the time between two of them."""
FILES = (
    AdvanceJob,
    CutNewest,
    CutStored,
    ForecastNewest,
    ForecastPoint,
    ReadStored,
    ReadTruth,
    UpdateArchive,
)
"""Requests that read or write files, which may be many, large, or on a slow disk."""
FILE_SECONDS = 120.0
VALUE_SECONDS = 5e-6
"""Time to check, or to write as text, one value: ten times what it takes."""


def patience(model: LoadedModel, request: Any) -> float:
    """Time that a request may hold the turn of its process beyond `hang_seconds`, without the network, s."""
    if isinstance(request, FILES):
        return FILE_SECONDS
    assert isinstance(request, ForecastUpload)
    forecaster = model.forecaster
    leads = request.steps or forecaster.leads
    cells = math.prod(len(axis) for axis in forecaster.contract.grid.axes.values())
    return VALUE_SECONDS * (len(request.fields) / 4 + leads * len(forecaster.outputs) * cells)


def beat(model: LoadedModel, hang_seconds: float, say: Callable[[Pulse], None]) -> None:
    """Say again and again whether all goes on; runs in a thread of its own."""
    while True:
        say(Pulse(model.batches.steps.overdue()))
        time.sleep(min(BEAT_SECONDS, hang_seconds / 4))


def probe(model: LoadedModel, hang_seconds: float, say: Callable[[Pulse], None]) -> None:
    """Make a forecast whenever none was made for a while; runs in a thread of its own."""
    batches = model.batches
    while True:
        pause = max(hang_seconds / 2, COSTLY * batches.window_seconds)
        idle = time.monotonic() - batches.last
        if idle < pause:
            time.sleep(pause - idle)
            continue
        batches.announce(PROBE)
        try:
            with batches.turn(PROBE):
                model.probe()
        except Exception as error:
            say(Pulse(f"the forecast of a probe failed: {error}"))
            return
