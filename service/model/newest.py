"""The forecast from the newest window of the server's own data, computed once and rolled out on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from service.model.batching import Batches
from service.model.source import MEANT, Source, own_data
from stconv.forecast import Forecaster
from stconv.forecast.inputs import CheckedInput


class NewestForecast:
    """A forecast that is kept until the files change, and continued where a request wants more leads.

    However many requests ask for however many leads, each lead is computed once.

    Args:
        forecaster: Forecaster of the model.
        source: The server's own data.
        batches: Computation of the forecaster, whose turn the caller of `of` holds.
        adapted: Gives the bands of a block what they have learned, see `Archivist.adapted`.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        source: Source,
        batches: Batches,
        adapted: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self._adapted = adapted
        self._forecaster, self._source, self._batches = forecaster, source, batches
        self._one_at_a_time = threading.Lock()
        self._state: Any = None
        self._checked: CheckedInput | None = None
        self._blocks: list[np.ndarray] = []
        self._described: dict[int, xr.Dataset] = {}

    def of(self, steps: int) -> xr.Dataset:
        """Forecast this number of leads.

        Raises:
            ServiceError: The data cannot be read, or do not fit the model.
            VariableError: The model cannot be rolled out that far.
        """
        with self._batches.aside():  # who computes needs the turn, so nobody may wait for him with it
            self._one_at_a_time.acquire()
        try:
            return self._of(steps)
        finally:
            self._one_at_a_time.release()

    def _of(self, steps: int) -> xr.Dataset:
        state = self._source.state()
        if state != self._state:
            self._state, self._checked, self._blocks, self._described = state, None, [], {}
        if steps not in self._described:
            with own_data(MEANT):
                self._described = {steps: self._extended(steps)}
        return self._described[steps]

    def _extended(self, steps: int) -> xr.Dataset:
        if self._checked is None:
            ds, origin = self._source.open()
            self._checked = self._forecaster.check(ds, origin=origin)
        for block in self._forecaster.blocks(self._checked, steps, tuple(self._blocks)):
            self._blocks.append(self._adapted(block))
        fields = np.concatenate(self._blocks, axis=2)[:, :, :steps]
        return self._forecaster.describe(fields, self._checked)
