"""Long forecasts in blocks, so that other requests are answered in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from service.model.kept_blocks import KeptBlocks
from service.model.upload import stored_dataset
from stconv.errors import ServiceError
from stconv.forecast import Forecaster


class Rollout:
    """One forecast of any number of leads, computed in blocks that stay in a file.

    Args:
        forecaster: Forecaster of the model.
        fields: File of the input, encoded by `wire.codec.encode`.
        blocks: File of the finished blocks; an earlier process may have begun it.
        steps: Number of leads.

    Raises:
        DataError: The input does not fit the model.
        FileNotFoundError: The job was canceled.
    """

    def __init__(self, forecaster: Forecaster, fields: Path, blocks: Path, steps: int) -> None:
        ds, origin = forecaster.open_stored(stored_dataset(fields.read_bytes()))
        self._forecaster, self._steps = forecaster, steps
        self._checked = forecaster.check(ds, origin=origin)
        shape = (1 + len(forecaster.band_names), len(forecaster.outputs), forecaster.leads)
        self._kept = KeptBlocks(blocks, (*shape, *self._checked.values.shape[-2:]))
        self._coming = forecaster.blocks(self._checked, steps, self._kept)

    def advance(self) -> int:
        """Forecast the next block; returns the number of finished leads."""
        block = next(self._coming, None)
        if block is not None:
            self._kept.append(block)
        return min(self._steps, len(self._kept) * self._forecaster.leads)

    def whole(self) -> xr.Dataset:
        """All requested leads as one forecast."""
        fields = np.concatenate(self._kept[:], axis=2)[:, :, : self._steps]
        return self._forecaster.describe(fields, self._checked)


class Rollouts:
    """The running long forecast; advancing another one puts it away, to be taken up from its files."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._current: tuple[Path, Rollout] | None = None

    def advance(self, fields: Path, blocks: Path, steps: int) -> tuple[int, xr.Dataset | None]:
        """Forecast the next block; the arguments are those of `Rollout`.

        Returns:
            Number of finished leads, and the forecast once it is complete; it is then released.

        Raises:
            DataError: The input does not fit the model.
            ServiceError: The job was canceled.
        """
        current, self._current = self._current, None
        try:
            if current is None or current[0] != blocks:
                current = blocks, Rollout(self._forecaster, fields, blocks, steps)
            done = current[1].advance()
            if done == steps:
                return done, current[1].whole()
        except FileNotFoundError as error:
            raise ServiceError("The job was canceled.") from error
        self._current = current
        return done, None
