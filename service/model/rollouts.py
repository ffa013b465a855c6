"""A long forecast in pieces, so that others are answered between them."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from stconv.datasets.source.grid import Origin
from stconv.dims import LEAD
from stconv.errors import ServiceError
from stconv.forecast import Forecaster


class Rollout:
    """One forecast of any number of leads, a block of them at a time.

    Args:
        forecaster: The model.
        ds: Its input, canonical.
        origin: How to restore the form of the input.
        steps: Number of leads.

    Raises:
        DataError: The input does not fit.
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
        """Forecast the next block; the number of leads there are."""
        self._blocks.append(next(self._coming))
        return min(self._steps, sum(block.sizes[LEAD] for block in self._blocks))

    @property
    def complete(self) -> bool:
        """Whether all leads are there."""
        return sum(block.sizes[LEAD] for block in self._blocks) >= self._steps

    def whole(self) -> xr.Dataset:
        """All leads asked for as one forecast."""
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
    """The one under way; who begins another has given up the one before."""

    def __init__(self) -> None:
        self._current: tuple[str, Rollout] | None = None

    def begin(self, key: str, rollout: Rollout) -> None:
        """Keep a forecast under the key of its job."""
        self._current = key, rollout

    def advance(self, key: str) -> tuple[int, xr.Dataset | None]:
        """Forecast the next block of a job.

        Returns:
            The number of leads there are, and the forecast when it is whole; it is forgotten then.

        Raises:
            ServiceError: The job was begun in a process that was replaced.
        """
        if self._current is None or self._current[0] != key:
            raise ServiceError("The model was replaced while this job ran. Submit it again.")
        rollout = self._current[1]
        done = rollout.advance()
        if not rollout.complete:
            return done, None
        self._current = None
        return done, rollout.whole()
