"""The forecasts of many reference times at once: a block of frames is read once, and cut into batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from stconv.datasets.source.time_axis import text
from stconv.errors import DataError, MissingValuesError
from stconv.forecast import Forecaster
from stconv.hindcasts.archive import Archive
from stconv.hindcasts.job import Task


@dataclass(frozen=True)
class Frames:
    """Frames of the archive in memory.

    Attributes:
        positions: Their positions in the archive, ascending.
        values: float32, (variable, time, lat, lon), in the units of the model.
    """

    positions: np.ndarray
    values: np.ndarray

    def at(self, references: Sequence[int], steps: Sequence[int]) -> np.ndarray:
        """Return the frames at steps from each reference time, (batch, variable, time, lat, lon)."""
        wanted = np.add.outer(np.asarray(references), np.asarray(steps))
        places = np.searchsorted(self.positions, wanted)
        return np.stack([self.values[:, row] for row in places])


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of a model from the windows of an archive.

    Attributes:
        forecaster: Forecaster of the model.
        archive: The archive.
        task: The forecasts that are wanted.
        batch: Number of windows computed at once.
    """

    forecaster: Forecaster
    archive: Archive
    task: Task
    batch: int

    def __post_init__(self) -> None:
        if self.task.steps > self.forecaster.leads:
            self.forecaster.require_feedback()

    @property
    def bands(self) -> bool:
        """Whether the forecasts have bounds."""
        return self.task.bands and bool(self.forecaster.band_names)

    def empty(self, n: int) -> np.ndarray:
        """Return n forecasts without values, NaN, (1 + bounds, target, n, lead, lat, lon)."""
        contract = self.forecaster.contract
        cells = [1, 1] if contract.of_event else [len(contract.grid.axes[dim]) for dim in contract.grid.dims]
        n_bounds = len(self.forecaster.band_names) if self.bands else 0
        shape = (1 + n_bounds, len(contract.outputs), n, self.task.steps, *cells)
        return np.full(shape, np.nan, dtype=np.float32)

    def read(self, references: Sequence[int], truth: int = 0) -> Frames:
        """Read all frames that the forecasts from some reference times need, and the truth after them."""
        rolls = self.task.steps > self.forecaster.leads
        oldest = self.forecaster.offsets[0]
        before = range(oldest, 1) if rolls else self.forecaster.offsets
        steps = [*before, *range(1, truth + 1)]
        positions = np.unique(np.add.outer(np.asarray(references), np.asarray(steps)))
        return Frames(positions, self.archive.read(positions.tolist()))

    def usable(self, references: Sequence[int], frames: Frames) -> np.ndarray:
        """Return whether the inputs of each window have enough values, bool, (reference,).

        Raises:
            DataError: A value is infinite.
        """
        if np.isfinite(frames.values).all():
            return np.ones(len(references), dtype=bool)
        found = []
        for reference in references:
            window = frames.at([reference], self.forecaster.offsets)[0]
            try:
                self.forecaster.expected.require_values(window, self.task.allowed_missing_share)
                found.append(True)
            except MissingValuesError:
                found.append(False)
            except DataError as error:
                time = text(self.archive.times[reference])
                raise DataError(f"The window of {time} cannot be used: {error}") from error
        return np.array(found)

    def batches(self, references: Sequence[int], frames: Frames) -> Iterator[tuple[list[int], np.ndarray]]:
        """Forecast in batches.

        Args:
            references: Positions of the reference times.
            frames: Frames from `read`.

        Yields:
            Reference times, and their forecasts, float32, (1 + bounds, batch, target, lead, lat, lon), in the
            units of the model.
        """
        forecaster = self.forecaster
        for start in range(0, len(references), self.batch):
            chosen = list(references[start : start + self.batch])

            def observed(steps: list[int], chosen: list[int] = chosen) -> np.ndarray:
                return frames.at(chosen, steps)

            times = [self.archive.times[i] for i in chosen]
            windows = frames.at(chosen, forecaster.offsets)
            blocks = forecaster.roll_out(self.bands).blocks(times, windows, observed)
            found = list(islice(blocks, math.ceil(self.task.steps / forecaster.leads)))
            fields = found[0] if len(found) == 1 else np.concatenate(found, axis=3)
            yield chosen, fields[:, :, :, : self.task.steps]
