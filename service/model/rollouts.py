"""Long forecasts in blocks, so that other requests are answered in between."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from stconv.datasets.source.grid import Origin
from stconv.dims import LEAD
from stconv.errors import ServiceError
from stconv.forecast import Forecaster


class Rollout:
    """One forecast of any number of leads, computed in blocks.

    Args:
        forecaster: Forecaster of the model.
        ds: Canonical input.
        origin: Form of the input, to restore in the forecast.
        steps: Number of leads.

    Raises:
        DataError: The input does not fit the model.
    """

    def __init__(self, forecaster: Forecaster, ds: xr.Dataset, origin: Origin, steps: int) -> None:
        self._steps = steps
        self._blocks: list[xr.Dataset] = []
        self._coming: Iterator[xr.Dataset]
        if steps <= forecaster.leads:
            self._coming = iter([forecaster.forecast(ds, steps=steps, origin=origin)])
        else:
            self._coming = forecaster.rollout(ds, origin=origin)

    def advance(self) -> int:
        """Forecast the next block; returns the number of finished leads."""
        self._blocks.append(next(self._coming))
        return min(self._steps, sum(block.sizes[LEAD] for block in self._blocks))

    @property
    def complete(self) -> bool:
        """Whether all leads are finished."""
        return sum(block.sizes[LEAD] for block in self._blocks) >= self._steps

    def whole(self) -> xr.Dataset:
        """All requested leads as one forecast."""
        if len(self._blocks) == 1:
            return self._blocks[0].isel({LEAD: slice(0, self._steps)})
        joined = xr.concat(
            self._blocks,
            LEAD,
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
        return joined.isel({LEAD: slice(0, self._steps)})


class Rollouts:
    """The running long forecast; starting another one discards it."""

    def __init__(self) -> None:
        self._current: tuple[str, Rollout] | None = None

    def begin(self, key: str, rollout: Rollout) -> None:
        """Start a forecast under the key of its job."""
        self._current = key, rollout

    def advance(self, key: str) -> tuple[int, xr.Dataset | None]:
        """Forecast the next block of a job.

        Returns:
            Number of finished leads, and the forecast once it is complete; it is then released.

        Raises:
            ServiceError: The job was started in a process that was replaced.
        """
        if self._current is None or self._current[0] != key:
            raise ServiceError("The model was replaced while this job ran. Submit it again.")
        rollout = self._current[1]
        done = rollout.advance()
        if not rollout.complete:
            return done, None
        self._current = None
        return done, rollout.whole()
