"""A long forecast in pieces, so that others are answered between them. Runs in the model's process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import xarray as xr

from stconv.dims import LEAD
from stconv.errors import ServiceError
from stconv.forecast import Forecaster


class Rollout:
    """One forecast of any number of leads, a block of them at a time.

    Args:
        forecaster: Of the model.
        ds: Its input.
        steps: Number of leads.

    Raises:
        DataError: The input does not fit.
    """

    def __init__(self, forecaster: Forecaster, ds: xr.Dataset, steps: int) -> None:
        self._steps = steps
        self._blocks: list[xr.Dataset] = []
        self._coming: Iterator[xr.Dataset]
        if steps <= forecaster.leads:
            self._coming = iter([forecaster.forecast(ds, steps=steps)])
        else:
            self._coming = forecaster.rollout(ds)

    def advance(self) -> int:
        """Forecast the next block; the number of leads there are."""
        self._blocks.append(next(self._coming))
        return min(self._steps, sum(block.sizes[LEAD] for block in self._blocks))

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

    def get(self, key: str) -> Rollout:
        """The forecast of a job.

        Raises:
            ServiceError: It was begun in a process that was replaced.
        """
        if self._current is None or self._current[0] != key:
            raise ServiceError("The model was replaced while this job ran. Submit it again.")
        return self._current[1]

    def drop(self, key: str) -> None:
        """Forget the forecast of a job."""
        if self._current is not None and self._current[0] == key:
            self._current = None


def job_answer(rollouts: Rollouts, request: dict[str, Any]) -> tuple[dict[str, Any], xr.Dataset | None]:
    """Do the next piece of a job: facts, and the forecast when it is whole."""
    rollout = rollouts.get(request["job"])
    done = rollout.advance()
    if done < request["steps"]:
        return {"leads_done": done}, None
    rollouts.drop(request["job"])
    return {"leads_done": done}, rollout.whole()
