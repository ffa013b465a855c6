"""The archive as a model sees it: checked once, and read in runs of frames."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dask
import numpy as np
import xarray as xr

from stconv.datasets.series.windows import forecast_indices
from stconv.datasets.source.grid import open_series
from stconv.datasets.source.grid_spec import GridSpec
from stconv.datasets.source.time_axis import breaks, text, time_step
from stconv.dims import TIME
from stconv.errors import TimeAxisError, WindowError
from stconv.forecast import Forecaster
from stconv.forecast.inputs import CheckedInput, present_names, read_frames
from stconv.forecast.window import parse_time
from stconv.hindcasts.job import Task


class Archive:
    """An opened archive that fits a model.

    Args:
        forecaster: Forecaster of the model.
        source: Paths, or a Dataset.
        grid: Options for reading, those of the training included.
        task: The forecasts that are wanted.

    Attributes:
        ds: Canonical Dataset of the inputs.
        checked: The check of the first complete window; its findings about values are left out.
        times: Times of the frames.

    Raises:
        DataError: The archive does not fit the model; see `Forecaster.check`.
    """

    def __init__(
        self, forecaster: Forecaster, source: Sequence[str] | xr.Dataset, grid: GridSpec, task: Task
    ) -> None:
        spec = present_names(grid, source) if isinstance(source, xr.Dataset) else grid
        opened = source if isinstance(source, xr.Dataset) else list(source)
        with dask.config.set(scheduler="synchronous"):
            ds, origin = open_series(opened, spec, forecaster.names)
            self.times = ds[TIME].values
            self._forecaster = forecaster
            single = len(self.times) < 2
            self._breaks = () if single else breaks(self.times, time_step(self.times))
            first = next(iter(self.complete()), None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                checked = forecaster.check(
                    ds,
                    None if first is None else self.times[first],
                    task.convert_units,
                    allowed_missing_share=1.0,  # each window is judged when it is read
                    origin=origin,
                )
        self.checked: CheckedInput = dataclasses.replace(checked, remarks=[], shares={}, older_window="")
        self.ds = checked.ds

    def complete(self, truth: int = 0) -> list[int]:
        """Return the positions of all reference times with a complete window, and `truth` frames after it."""
        return forecast_indices(len(self.times), self._forecaster.offsets, self._breaks, truth)

    def chosen(self, start: Any = None, end: Any = None, stride: int = 1, truth: int = 0) -> list[int]:
        """Return the positions of the reference times from `start` to `end`.

        Args:
            start: First reference time, ISO 8601; default: the first complete window.
            end: Last reference time; default: the last complete window.
            stride: Keep every stride-th reference time.
            truth: Number of frames after the reference time that have to be in the archive.

        Raises:
            WindowError: The stride is below 1, or there is no complete window in the period.
            TimeAxisError: A time cannot be read.
        """
        if stride < 1:
            raise WindowError(f"stride is {stride}; expected 1 or more.")
        low, high = (None if t is None else parse_time(t, self.times[0]) for t in (start, end))
        if low is not None and high is not None and low > high:
            raise TimeAxisError(f"The hindcast starts at {text(low)}, after its end, {text(high)}.")
        complete = self.complete(truth)
        found = [
            i
            for i in complete
            if (low is None or self.times[i] >= low) and (high is None or self.times[i] <= high)
        ]
        if not found:
            frames = self.checked.frames.extent()
            within = f" from {text(low or self.times[0])} to {text(high or self.times[-1])}"
            after = f" and {truth} frames after it" if truth else ""
            raise WindowError(
                f"There is no reference time{within} with a complete window of inputs{after}: the archive "
                f"has {frames}. Choose another period, or give more data."
            )
        return found[::stride]

    def read(self, positions: Sequence[int]) -> np.ndarray:
        """Read frames, float32, (variable, time, lat, lon), in the model's units, run by run."""
        edges = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(positions)) if b != a + 1), len(positions)]
        checked = self.checked
        # One thread reads: the HDF5 library is not safe with several.
        with dask.config.set(scheduler="synchronous"):
            parts = [
                read_frames(checked.ds, positions[a:b], checked.conversions, checked.channels)
                for a, b in pairwise(edges)
            ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    @property
    def chunk(self) -> int:
        """Number of successive frames that the archive decodes at once; 1 if they are in memory."""
        first = next(iter(self.ds.data_vars.values()))
        return 1 if first.chunks is None else int(first.chunks[0][0])
