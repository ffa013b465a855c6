"""A file on the network that is read by ranges, as an open file in Python; blocks read before are kept."""

from __future__ import annotations

import io
import threading
import weakref
from collections import OrderedDict
from typing import Any

from stconv.datasets.remote.address import Address
from stconv.datasets.remote.filesystem import content, size
from stconv.errors import FileError, StconvError

BLOCK_BYTES = 2**20
"""Least number of bytes asked for at once: the metadata of a file take few requests."""
BLOCKS_KEPT = 64


class RangedFile(io.RawIOBase):
    """An open file whose bytes are asked for when they are read.

    The HDF5 library calls it from C and may replace an error by one of its own, so that the first error is
    kept in `failed`.

    Args:
        address: Address of the file.

    Raises:
        FileError: There is no such file, or the server does not tell its size.
    """

    def __init__(self, address: Address) -> None:
        super().__init__()
        found = size(address)
        if found is None:
            raise FileError(
                f"The server does not tell the size of '{address}', so that it cannot be read by ranges. "
                "Download it, and give the file."
            )
        self.address, self.size, self.failed = address, found, None
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.RLock()

    failed: StconvError | None

    def __str__(self) -> str:
        return str(self.address)

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it has a position: always."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, and return their number."""
        view = memoryview(buffer).cast("B")
        with self._lock:
            found = self._range(self._position, min(self._position + len(view), self.size))
            view[: len(found)] = found
            self._position += len(found)
        return len(found)

    def _range(self, start: int, stop: int) -> bytes:
        """Bytes from start to stop; neighboring blocks that are not kept are asked for together."""
        if stop <= start:
            return b""
        first, last = start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        missing = [block for block in range(first, last + 1) if block not in self._blocks]
        parts = {block: self._blocks[block] for block in range(first, last + 1) if block in self._blocks}
        while missing:
            n = next((i for i in range(1, len(missing)) if missing[i] != missing[0] + i), len(missing))
            parts.update(self._asked(missing[0], missing[0] + n))
            missing = missing[n:]
        for block, found in parts.items():
            self._blocks[block] = found
            self._blocks.move_to_end(block)
        while len(self._blocks) > BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        whole = b"".join(parts[block] for block in range(first, last + 1))
        return whole[start - first * BLOCK_BYTES : stop - first * BLOCK_BYTES]

    def _asked(self, first: int, stop: int) -> dict[int, bytes]:
        """Blocks first to stop, asked for in one request."""
        start, end = first * BLOCK_BYTES, min(stop * BLOCK_BYTES, self.size)
        try:
            found = content(self.address, start, end)
            if len(found) != end - start:
                raise FileError(
                    f"'{self.address}': asked for {end - start} bytes from byte {start}, the server sent "
                    f"{len(found)}. It does not serve ranges, or the file has changed since it was opened. "
                    "Download the file and give it, or open it again."
                )
        except StconvError as error:
            self.failed = error
            raise
        return {
            block: found[(block - first) * BLOCK_BYTES : (block + 1 - first) * BLOCK_BYTES]
            for block in range(first, stop)
        }


_open: weakref.WeakSet[RangedFile] = weakref.WeakSet()


def opened(address: Address) -> RangedFile:
    """Open a file; `lost` tells later why it could not be read."""
    file = RangedFile(address)
    _open.add(file)
    return file


def lost(source: str) -> StconvError | None:
    """The error behind one that the HDF5 library raised; None for a file on disk, or one that is damaged.

    Args:
        source: Address or path, as in messages.
    """
    return next((file.failed for file in _open if file.failed and str(file) == source), None)
