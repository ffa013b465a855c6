"""Finished blocks of a long forecast in a file, from which another process goes on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CHECKSUM_BYTES = 4


class KeptBlocks(Sequence[np.ndarray]):
    """Arrays of one shape in a file, each followed by its checksum.

    A process that is killed, or a power cut, may leave the last arrays incomplete: what does not match its
    checksum is not there, and neither is what follows it.

    Args:
        path: File, which is created if it is not there.
        shape: Shape of each array, float32.

    Raises:
        OSError: The file cannot be read or created.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape
        self._bytes = 4 * int(np.prod(shape))
        self._n = 0
        path.touch()
        with path.open("rb") as file:
            while self._is_whole(file.read(self._bytes + CHECKSUM_BYTES)):
                self._n += 1

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        """Read one array, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        if not 0 <= index < self._n:
            raise IndexError(index)
        offset = index * (self._bytes + CHECKSUM_BYTES)
        values = np.fromfile(self._path, "<f4", self._bytes // 4, offset=offset)
        return values.reshape(self._shape)

    def append(self, block: np.ndarray) -> None:
        """Write an array after the others.

        Raises:
            OSError: The disk is full, or the file was removed meanwhile.
        """
        content = np.ascontiguousarray(block, "<f4").tobytes()
        with self._path.open("r+b") as file:
            file.seek(self._n * (self._bytes + CHECKSUM_BYTES))
            file.write(content + zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "little"))
            file.truncate()
        self._n += 1

    def _is_whole(self, record: bytes) -> bool:
        content, checksum = record[: self._bytes], record[self._bytes :]
        return len(checksum) == CHECKSUM_BYTES and zlib.crc32(content) == int.from_bytes(checksum, "little")
