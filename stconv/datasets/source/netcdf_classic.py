"""The length of a classic NetCDF file by its header: netCDF-C returns zeros past the end.

Source: NetCDF file format specifications, "The NetCDF Classic Format", with CDF-2 and CDF-5.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
RECORD_DIMENSION = 0


@dataclass(frozen=True)
class Announced:
    """Sizes by the header of a file.

    Attributes:
        n_bytes: Smallest size of the complete file.
        n_records: Number of records, steps along the unlimited dimension; None in a file that was written as
            a stream, which does not say.
        record_bytes: Size of a record; 0 if no variable has the unlimited dimension.
    """

    n_bytes: int
    n_records: int | None
    record_bytes: int


def announced(path: Path) -> Announced:
    """Read the sizes that a header declares.

    Raises:
        ValueError: The header itself is truncated or damaged.
    """
    with path.open("rb") as file:
        version = file.read(4)[3]
        header = _Header(file, count_bytes=8 if version == 5 else 4, offset_bytes=4 if version == 1 else 8)
        n_records = header.count()
        streamed = n_records == 2 ** (8 * header.count_bytes) - 1
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
    if n_records and not streamed:
        ends += [begin + (n_records - 1) * record + size for begin, size in records]
    else:
        ends += [begin for begin, _ in records]
    return Announced(max(ends), None if streamed else n_records, record)


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
