"""Windows of a series, in memory or mapped; slicing only, so that one window costs a few microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stconv.datasets.series.cache import forget_pages, map_file
from stconv.datasets.series.crops import Crop, Crops
from stconv.datasets.series.streamed import StreamedValues
from stconv.datasets.series.windows import WindowSpec

if TYPE_CHECKING:
    from stconv.datasets.series.store import Series

RESIDENT_BYTES = 256 * 2**20
"""A dataset on disk releases its pages after reading this many bytes."""


def window(
    values: np.ndarray | Tensor, cycles: np.ndarray | Tensor, spec: WindowSpec, i: int, n_targets: int = 0
) -> dict[str, Tensor]:
    """Cut one window from the series, in physical units, NaN where missing.

    Args:
        values: float32, (time, channel, lat, lon), targets first.
        cycles: Fractions of day, year and week of each step, float32, (time, 3); for a forecast they reach
            `leads` steps past the end of `values`.
        spec: Shape of a window.
        i: Reference index.
        n_targets: Leading channels that are targets; 0 leaves "targets" out (a forecast without truth).

    Returns:
        "inputs" (channel, t_in, lat, lon), "input_cycles" (t_in, 3), "target_cycles" (leads, 3), all float32,
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

    It holds tensors and integers only: a worker process receives them through shared memory, and no file
    handle. Of a series on disk a worker receives the path, and maps it by itself; pages read are given back
    from time to time, so that memory stays bounded however large the file is. The windows of a streamed
    series come from blocks that threads read ahead in the order that was announced.

    Args:
        series: The series.
        spec: Shape of a window.
        references: Reference indices, from `windows.reference_indices`.
    """

    def __init__(self, series: Series, spec: WindowSpec, references: Sequence[int]) -> None:
        self.on_disk = _file_of(series.values)
        self.stream = series.values.apart() if isinstance(series.values, StreamedValues) else None
        self.values = torch.empty(0) if self.stream is not None else torch.from_numpy(series.values)
        self.cycles = torch.from_numpy(series.cycles.astype(np.float32))
        self.n_targets = series.n_targets
        self.spec = spec
        self.references = list(references)
        self._mapped, self._bytes_read = series.values if self.on_disk else None, 0

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        if self.stream is not None:
            return self._streamed(self.stream, self.references[item])
        sample = window(self.values, self.cycles, self.spec, self.references[item], self.n_targets)
        if self._mapped is not None:
            sample = {name: tensor.clone() for name, tensor in sample.items()}
            self._release(sample["inputs"].nbytes)
        return sample

    def batch(self, items: Sequence[int], crop: Crop | None = None) -> dict[str, Tensor]:
        """Several windows, stacked.

        With a crop, "inputs" are those of the cells that are read and "targets" those of the cells that are
        kept; "rows", "columns" and "crop" say which these are.
        """
        if self.stream is not None:
            windows = [self._streamed(self.stream, self.references[item]) for item in items]
            whole = {name: torch.stack([one[name] for one in windows]) for name in windows[0]}
            return whole if crop is None else _cut(whole, crop)
        reference = np.array([self.references[item] for item in items])
        past = reference[:, None] + np.array(self.spec.input_offsets)
        future = reference[:, None] + np.arange(1, self.spec.leads + 1)
        values, cycles = self.values.numpy(), self.cycles.numpy()
        batch = {
            "inputs": _gather(values, past, None if crop is None else (crop.rows.read, crop.columns.read)),
            "input_cycles": torch.from_numpy(cycles[past]),
            "target_cycles": torch.from_numpy(cycles[future]),
            "reference_index": torch.from_numpy(reference),
        }
        if self.n_targets:
            kept = None if crop is None else (crop.rows.kept, crop.columns.kept)
            batch["targets"] = _gather(values[:, : self.n_targets], future, kept)
        if crop is not None:
            batch |= _described(crop)
        self._release(batch["inputs"].nbytes)
        return batch

    def _streamed(self, stream: StreamedValues, i: int) -> dict[str, Tensor]:
        """A window of a series that stays where it is."""
        first, stop = self._span(i)
        frames, cycles = stream.window(first, stop), self.cycles[first : i + self.spec.leads + 1]
        sample = window(frames, cycles, self.spec, i - first, self.n_targets)
        return {name: tensor.clone() for name, tensor in sample.items()} | {
            "reference_index": torch.tensor(i)
        }

    def _span(self, i: int) -> tuple[int, int]:
        """First step of a window, and the step after its last."""
        last = i + (self.spec.leads if self.n_targets else 0)
        return i + self.spec.input_offsets[0], last + 1

    def spans(self) -> list[tuple[int, int]]:
        """First step of each window, and the step after its last."""
        return [self._span(i) for i in self.references]

    def announce(self, items: list[int]) -> None:
        """Read ahead for an order of the windows, if the series is streamed."""
        if self.stream is not None:
            self.stream.blocks.begin([self._span(self.references[item]) for item in items])

    def _release(self, n_bytes: int) -> None:
        """Count bytes read from disk, and release pages from time to time."""
        self._bytes_read += n_bytes
        if self._mapped is not None and self._bytes_read > RESIDENT_BYTES:
            forget_pages(self._mapped)
            self._bytes_read = 0

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self.on_disk is not None:
            del state["values"], state["_mapped"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.on_disk is not None:
            path, shape = self.on_disk
            self._mapped, self._bytes_read = map_file(Path(path), shape), 0
            self.values = torch.from_numpy(self._mapped)


class BatchDataset(Dataset[dict[str, Any]]):
    """The same windows for a loader that asks for a list of items and takes the batch unchanged.

    Args:
        windows: The windows.
        crops: Crops to draw one of for each batch; None for the whole grid.
    """

    def __init__(self, windows: WindowDataset, crops: Crops | None = None) -> None:
        self.windows, self._crops = windows, crops

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        return self.__getitems__([item])

    def __getitems__(self, items: list[int]) -> dict[str, Tensor]:
        return self.windows.batch(items, None if self._crops is None else self._crops.draw(items))


def unchanged(batch: Any) -> Any:
    """Return the batch: the collate function of a loader whose data set makes whole batches."""
    return batch


def _cut(whole: dict[str, Tensor], crop: Crop) -> dict[str, Tensor]:
    """Cut a crop from a batch on the whole grid."""
    batch = dict(whole)
    for name, rows, columns in (
        ("inputs", crop.rows.read, crop.columns.read),
        ("targets", crop.rows.kept, crop.columns.kept),
    ):
        cells = batch[name].index_select(-2, torch.from_numpy(rows))
        batch[name] = cells.index_select(-1, torch.from_numpy(columns))
    return batch | _described(crop)


def _described(crop: Crop) -> dict[str, Tensor]:
    """Return the cells of a crop, as a batch holds them."""
    sides = (crop.rows, crop.columns)
    return {
        "rows": torch.from_numpy(crop.rows.read),
        "columns": torch.from_numpy(crop.columns.read),
        "crop": torch.tensor([number for side in sides for number in (side.offset, side.n)]),
    }


def _gather(
    values: np.ndarray, steps: np.ndarray, cells: tuple[np.ndarray, np.ndarray] | None = None
) -> Tensor:
    """Frames at (batch, time) steps, (batch, channel, time, lat, lon).

    NumPy copies a window faster than torch gathers it, since it wakes no threads for little work.
    """
    n_batch, n_time = steps.shape
    columns = None
    if cells is not None:
        values, columns = values[:, :, cells[0][0] : cells[0][-1] + 1], cells[1]
        if columns[-1] - columns[0] == len(columns) - 1:
            values, columns = values[..., columns[0] : columns[-1] + 1], None
    n_columns = values.shape[3] if columns is None else len(columns)
    batch = np.empty((n_batch, values.shape[1], n_time, values.shape[2], n_columns), dtype=values.dtype)
    consecutive = steps[0, -1] - steps[0, 0] == n_time - 1
    for sample, frames in zip(batch, steps, strict=True):
        found = values[frames[0] : frames[0] + n_time] if consecutive else values[frames]
        sample[...] = (found if columns is None else found[..., columns]).swapaxes(0, 1)
    return torch.from_numpy(batch)


def _file_of(values: np.ndarray) -> tuple[str, tuple[int, ...]] | None:
    """File and shape of a mapped array; None for an array in memory."""
    return (str(values.filename), values.shape) if isinstance(values, np.memmap) else None
