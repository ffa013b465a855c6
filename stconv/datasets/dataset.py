"""Windows of a series held in memory; slicing only, so that one window costs a few microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stconv.datasets.windows import WindowSpec

if TYPE_CHECKING:
    from stconv.datasets.store import Series


def window(
    values: np.ndarray | Tensor, cycles: np.ndarray | Tensor, spec: WindowSpec, i: int, n_targets: int = 0
) -> dict[str, Tensor]:
    """Cut one window as it is in the series: physical units, NaN where missing.

    Args:
        values: float32, (time, channel, lat, lon), targets first.
        cycles: Fractions of day and year of each step, float32, (time, 2); for a forecast they reach
            `leads` steps past the end of `values`.
        spec: Form of a window.
        i: Reference index.
        n_targets: Leading channels that are targets; 0 leaves "targets" out (a forecast without truth).

    Returns:
        "inputs" (channel, t_in, lat, lon), "input_cycles" (t_in, 2), "target_cycles" (leads, 2), all float32,
        "reference_index" int64, and with n_targets "targets" (n_targets, leads, lat, lon).
    """
    values, cycles = torch.as_tensor(values), torch.as_tensor(cycles)
    offsets = spec.input_offsets
    past: slice | list[int]
    if offsets[0] == 1 - len(offsets):
        past = slice(i + offsets[0], i + 1)
    else:
        past = [i + offset for offset in offsets]
    future = slice(i + 1, i + 1 + spec.leads)
    sample = {
        "inputs": values[past].transpose(0, 1),
        "input_cycles": cycles[past],
        "target_cycles": cycles[future],
        "reference_index": torch.tensor(i),
    }
    if n_targets:
        sample["targets"] = values[future, :n_targets].transpose(0, 1)
    return sample


class WindowDataset(Dataset[dict[str, Any]]):
    """The windows of a series at given reference indices.

    It holds tensors and integers only: a worker process receives them through shared memory, and no
    file handle.

    Args:
        series: The series in memory.
        spec: Form of a window.
        references: Reference indices, from `windows.reference_indices`.
    """

    def __init__(self, series: Series, spec: WindowSpec, references: Sequence[int]) -> None:
        self.values = torch.from_numpy(series.values)
        self.cycles = torch.from_numpy(series.cycles.astype(np.float32))
        self.n_targets = series.n_targets
        self.spec = spec
        self.references = list(references)

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        return window(self.values, self.cycles, self.spec, self.references[item], self.n_targets)
