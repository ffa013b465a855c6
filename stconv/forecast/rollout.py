"""The roll-out of a batch of windows: block after block of leads, each made from the forecasts before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stconv.datasets.source.cycles import cycles
from stconv.datasets.source.time_axis import TimeStep, advance

Observed = Callable[[list[int]], np.ndarray]
"""Reads frames at steps (0 or below) from each reference time, (batch, variable, time, lat, lon)."""


class RollOut:
    """Forecasts of a batch of windows by blocks of as many leads as the model was trained with.

    Args:
        predict: Forecasts a batch with its bounds, see `Forecaster.predict_bands`.
        offsets: Steps of the input frames relative to the reference time, ascending, the last 0.
        leads: Number of leads of one block.
        step: Time step between two frames.
    """

    def __init__(
        self,
        predict: Callable[[dict[str, Tensor]], Tensor],
        offsets: Sequence[int],
        leads: int,
        step: TimeStep,
    ) -> None:
        self._predict, self._offsets, self._leads, self._step = predict, offsets, leads, step

    def blocks(
        self,
        references: Sequence[Any],
        windows: np.ndarray,
        observed: Observed,
        done: Sequence[np.ndarray] = (),
    ) -> Iterator[np.ndarray]:
        """Yield block after block without end.

        Args:
            references: Reference time of each window.
            windows: Input frames, float32, (batch, variable, time, lat, lon), in the units of the model.
            observed: Reads further frames from before the reference time, which a block after the first one
                may need.
            done: Blocks that an earlier call yielded for the same windows; it goes on after them.

        Yields:
            float32, (1 + bounds, batch, target, lead, lat, lon), in the units of the model; only the first
            block has bounds, those of the others are NaN.
        """
        # Frames by steps from the reference time: negative ones are observed, positive ones forecast.
        history = dict(zip(self._offsets, windows.transpose(2, 0, 1, 3, 4), strict=True))
        newest = len(done) * self._leads
        for i in range(max(0, (newest + self._offsets[0] - 1) // self._leads), len(done)):
            history.update(self._frames(done[i], i * self._leads))
        while True:
            wanted = [newest + offset for offset in self._offsets]
            before = [k for k in wanted if k <= 0 and k not in history]
            if before:
                history.update(zip(before, observed(before).transpose(2, 0, 1, 3, 4), strict=True))
            block = self._block(references, newest, np.stack([history[k] for k in wanted], axis=2))
            if newest > 0:
                block[1:] = np.nan
            yield block
            history.update(self._frames(block, newest))
            newest += self._leads
            history = {k: frame for k, frame in history.items() if k >= newest + self._offsets[0]}

    def _frames(self, block: np.ndarray, newest: int) -> dict[int, np.ndarray]:
        """Return the forecast frames of a block by steps from the reference time."""
        return {newest + lead: block[0, :, :, lead - 1] for lead in range(1, self._leads + 1)}

    def _block(self, references: Sequence[Any], newest: int, inputs: np.ndarray) -> np.ndarray:
        def cycle_tensor(steps: list[int]) -> Tensor:
            times = [advance(reference, self._step, k) for reference in references for k in steps]
            found = cycles(np.array(times)).astype(np.float32)
            return torch.from_numpy(found.reshape(len(references), len(steps), -1))

        batch = {
            "inputs": torch.from_numpy(inputs),
            "input_cycles": cycle_tensor([newest + offset for offset in self._offsets]),
            "target_cycles": cycle_tensor([newest + lead for lead in range(1, self._leads + 1)]),
            "reference_index": torch.zeros(len(references), dtype=torch.int64),
        }
        return self._predict(batch).numpy()
