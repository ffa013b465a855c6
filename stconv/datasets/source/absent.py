"""Chunks that a Zarr store or an HDF5 file lacks, for which libraries silently return the fill value.

Writers omit chunks that hold only the fill value (the default of zarr-python), or never wrote them.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.declared import DEFAULT_FILL
from stconv.datasets.source.shards import Index, chunks_in_shard
from stconv.errors import FileError

MOST_SAMPLED = 3
"""Number of stored chunks that are searched for the fill value."""


@dataclass(frozen=True)
class Chunks:
    """Storage of an array.

    Attributes:
        shape: Shape of the array.
        chunk: Shape of a chunk.
        present: Chunk indices of each stored chunk.
        fill: Value that the library returns for absent chunks.
        read: Reads the values of a region.
        all_written: Whether writers store every chunk of the array, since it states no fill value.
    """

    shape: Index
    chunk: Index
    present: frozenset[Index]
    fill: Any
    read: Callable[[tuple[slice, ...]], np.ndarray]
    all_written: bool = False

    @property
    def counts(self) -> Index:
        """Number of chunks along each dimension."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.chunk, strict=True))

    def absent(self) -> list[Index]:
        """Chunks that are not stored."""
        if len(self.present) >= math.prod(self.counts):
            return []
        return [at for at in itertools.product(*map(range, self.counts)) if at not in self.present]

    def fill_is_a_value(self) -> bool:
        """Whether some stored chunks hold the fill value; False if no chunk is stored."""
        low, high = np.inf, -np.inf
        stored = sorted(self.present)
        for at in stored[:: max(1, len(stored) // MOST_SAMPLED)][:MOST_SAMPLED]:
            region = tuple(slice(i * size, (i + 1) * size) for i, size in zip(at, self.chunk, strict=True))
            values = np.asarray(self.read(region))
            values = values[np.isfinite(values)]
            if values.size:
                low, high = min(low, values.min()), max(high, values.max())
        return bool(low <= self.fill <= high)


def mark_absent(
    name: str,
    dims: Sequence[Hashable],
    dtype: np.dtype[Any],
    attrs: dict[Any, Any],
    stored: Chunks,
    source: str,
) -> None:
    """Find absent chunks of a variable, warn which steps they cover, and mark their values as missing.

    If the stored values include the fill value (zeros of rain), an absent chunk may be one that holds only
    this value: it is read as the fill value, with a warning.

    Args:
        name: Name of the variable.
        dims: Its dimensions.
        dtype: Type of its stored values.
        attrs: Its attributes; a fill value that means missing is added to `missing_value`.
        stored: Its storage.
        source: File, for messages.

    Raises:
        FileError: Part of an axis is absent, or part of an array whose writer stores every chunk.
    """
    if dtype.kind not in "iuf" or not dims or not (absent := stored.absent()):
        return
    where = f"{_spans([at[0] for at in absent], stored)} along '{dims[0]}'"
    if name in dims:
        if stored.chunk[0] > 1 or len(absent) > 1:
            raise FileError(
                f"{source}: the axis '{name}' is not stored at {where}: its chunks were never written. "
                "Write them, or download the missing files of the store."
            )
        return  # a single value equal to the fill value, usually 0
    n = math.prod(stored.counts)
    told = f"{source}: {len(absent)} of {n} chunks of '{name}' are not stored ({where}). "
    if _is_missing(stored.fill, attrs.get("_FillValue"), dtype):
        told += "Their values are missing."
    elif not stored.fill_is_a_value():
        declared = attrs.get("missing_value")
        others = [] if declared is None else np.ravel(declared).tolist()
        attrs["missing_value"] = [*others, np.asarray(stored.fill).item()]
        told += f"Their values are missing, not {stored.fill}, which the stored chunks do not contain."
    elif stored.all_written:
        raise FileError(
            f"{told}They were never written, or are lost, and would be read as {stored.fill}. Download or "
            "write them again."
        )
    else:
        told += (
            f"They are read as {stored.fill}, the fill value, which the stored chunks contain as well. If "
            "that is wrong, download or write them."
        )
    warnings.warn(told, SourceWarning, stacklevel=3)


def zarr_chunks(array: Any, folder: Path) -> Chunks | None:
    """Storage of an array in a Zarr folder, with the chunks inside of shards."""
    stored = tuple(array.shards or array.chunks)
    if any(size < 1 for size in (*stored, *array.shape)):
        return None
    files = {
        os.path.relpath(os.path.join(here, file), folder).replace(os.sep, "/")
        for here, _, names in os.walk(folder)
        for file in names
    }
    counts = [range(-(-n // size)) for n, size in zip(array.shape, stored, strict=True)]
    keys = {at: array.metadata.encode_chunk_key(at) for at in itertools.product(*counts)}
    present = {at for at, key in keys.items() if key in files}
    if array.shards:
        present = {
            inner
            for at in present
            for inner in chunks_in_shard(array, at, folder / keys[at])
            if all(i * size < n for i, size, n in zip(inner, array.chunks, array.shape, strict=True))
        }
    fill = array.dtype.type(0) if array.fill_value is None else array.fill_value
    return Chunks(
        tuple(array.shape),
        tuple(array.chunks),
        frozenset(present),
        fill,
        lambda region: array[region],
        all_written=array.fill_value is None,
    )


def listed_chunks(array: Any, store: Any, prefix: str) -> Chunks | None:
    """Storage of an array in a store that can list its keys; a shard counts as complete.

    Args:
        array: Zarr array.
        store: Store for Zarr.
        prefix: Path of the array in the store.
    """
    from zarr.core.sync import sync

    stored = tuple(array.shards or array.chunks)
    if any(size < 1 for size in (*stored, *array.shape)):
        return None

    async def names() -> set[str]:
        return {key async for key in store.list_prefix(f"{prefix}/")}

    keys = {key.removeprefix(f"{prefix}/") for key in sync(names())}
    counts = [range(-(-n // size)) for n, size in zip(array.shape, stored, strict=True)]
    places = itertools.product(*counts)
    present = frozenset(at for at in places if array.metadata.encode_chunk_key(at) in keys)
    fill = array.dtype.type(0) if array.fill_value is None else array.fill_value
    return Chunks(
        tuple(array.shape),
        stored,
        present,
        fill,
        lambda region: array[region],
        all_written=array.fill_value is None,
    )


def hdf5_chunks(dataset: Any) -> Chunks | None:
    """Storage of an HDF5 dataset; None if it is contiguous, or if no chunk is absent."""
    if dataset.chunks is None or 0 in dataset.shape:
        return None
    counts = [-(-n // size) for n, size in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.id.get_num_chunks() >= math.prod(counts):
        return None
    offsets: list[Index] = []
    dataset.id.chunk_iter(lambda stored: offsets.append(stored.chunk_offset))
    present = {tuple(o // size for o, size in zip(at, dataset.chunks, strict=True)) for at in offsets}
    fill = dataset.fillvalue
    return Chunks(dataset.shape, dataset.chunks, frozenset(present), fill, lambda region: dataset[region])


def _is_missing(fill: Any, declared: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a fill value already means missing: NaN, declared, or the default of the NetCDF library."""
    if np.isnan(fill) or fill == DEFAULT_FILL.get(dtype.str[1:]):
        return True
    return isinstance(declared, (int, float, np.generic)) and bool(dtype.type(declared) == fill)


def _spans(places: list[int], stored: Chunks) -> str:
    """Steps that chunks cover along the first dimension: `0 to 19, 60 to 79`."""
    spans: list[list[int]] = []
    for place in sorted(set(places)):
        start, stop = place * stored.chunk[0], min((place + 1) * stored.chunk[0], stored.shape[0])
        if spans and spans[-1][1] == start:
            spans[-1][1] = stop
        else:
            spans.append([start, stop])
    shown = [f"{a} to {b - 1}" if b - a > 1 else f"{a}" for a, b in spans[:8]]
    more = f" and {len(spans) - 8} more" if len(spans) > 8 else ""
    return f"step {', '.join(shown)}{more}"
