"""The expected length of a classic NetCDF file by its header: netCDF-C returns zeros past the end.

Source: NetCDF file format specifications, "The NetCDF Classic Format", with CDF-2 and CDF-5.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
RECORD_DIMENSION = 0


def bytes_announced(path: Path) -> int:
    """Smallest size in bytes of a complete file with this header.

    Raises:
        ValueError: The header itself is truncated or damaged.
    """
    with path.open("rb") as file:
        version = file.read(4)[3]
        header = _Header(file, count_bytes=8 if version == 5 else 4, offset_bytes=4 if version == 1 else 8)
        n_records = header.count()
        if n_records == 2 ** (8 * header.count_bytes) - 1:
            n_records = 0  # written as a stream, without the number of records
        sizes = []
        for _ in range(header.entries()):
            header.name()
            sizes.append(header.count())
        header.skip_attributes()
        ends, records = [0], []
        for _ in range(header.entries()):
            header.name()
            dims = [header.count() for _ in range(header.count())]
            header.skip_attributes()
            item = TYPE_BYTES[header.integer(4)]
            header.count()
            begin = header.integer(header.offset_bytes)
            shape = [sizes[dim] for dim in dims]
            if shape[:1] == [RECORD_DIMENSION]:
                records.append((begin, item * math.prod(shape[1:])))
            else:
                ends.append(begin + item * math.prod(shape))
    record = records[0][1] if len(records) == 1 else sum(_padded(size) for _, size in records)
    if n_records:
        ends += [begin + (n_records - 1) * record + size for begin, size in records]
    return max(ends)


class _Header:
    """Sequential reader of the parts of a header."""

    def __init__(self, file: BinaryIO, count_bytes: int, offset_bytes: int) -> None:
        self.file, self.count_bytes, self.offset_bytes = file, count_bytes, offset_bytes

    def integer(self, n_bytes: int) -> int:
        content = self.file.read(n_bytes)
        if len(content) < n_bytes:
            raise ValueError("the header is cut off")
        return int(struct.unpack(">I" if n_bytes == 4 else ">Q", content)[0])

    def count(self) -> int:
        return self.integer(self.count_bytes)

    def entries(self) -> int:
        """Read the number of entries of a list, after its tag."""
        self.integer(4)
        return self.count()

    def name(self) -> None:
        self.file.seek(_padded(self.count()), 1)

    def skip_attributes(self) -> None:
        for _ in range(self.entries()):
            self.name()
            item = TYPE_BYTES[self.integer(4)]
            self.file.seek(_padded(item * self.count()), 1)


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // 4) * 4
