"""The index of a Zarr shard: the chunks inside that are stored.

Source: Zarr core specification, version 3, "Sharding codec".
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

Index = tuple[int, ...]
"""Position of a chunk in the grid of chunks."""

ABSENT = 2**64 - 1
"""Offset and length of a chunk that is not stored."""
CHECKSUM_BYTES = 4


def chunks_in_shard(array: Any, at: Index, file: Path) -> set[Index]:
    """Positions in the whole array of the chunks that a shard stores.

    Args:
        array: Zarr array with shards.
        at: Position of the shard.
        file: Its file.

    Returns:
        The chunks of the index; none for an empty file, which Zarr reads as an absent shard. All chunks if
        the index has an unusual form or is cut off, so that reading them reports the damage.
    """
    counts = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
    whole = {
        tuple(i * n + j for i, n, j in zip(at, counts, inner, strict=True))
        for inner in itertools.product(*map(range, counts))
    }
    entries = _entries(array.metadata.codecs[0], len(whole), file)
    if entries is None:
        return set() if file.stat().st_size == 0 else whole
    stored = np.argwhere((entries != ABSENT).any(axis=-1).reshape(counts))
    return {tuple(i * n + int(j) for i, n, j in zip(at, counts, inner, strict=True)) for inner in stored}


def _entries(codec: Any, n_chunks: int, file: Path) -> np.ndarray | None:
    """Offset and length of each chunk, uint64, (n, 2); None if they cannot be read."""
    codecs = [type(each).__name__ for each in getattr(codec, "index_codecs", ())]
    if codecs not in (["BytesCodec"], ["BytesCodec", "Crc32cCodec"]):
        return None
    n_bytes = 16 * n_chunks
    length = n_bytes + CHECKSUM_BYTES * ("Crc32cCodec" in codecs)
    with file.open("rb") as stream:
        if file.stat().st_size < length:
            return None
        if codec.index_location.value == "end":
            stream.seek(-length, 2)
        content = stream.read(n_bytes)
    order = ">" if codec.index_codecs[0].endian.value == "big" else "<"
    return np.frombuffer(content, f"{order}u8").reshape(n_chunks, 2)
