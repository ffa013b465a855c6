"""The messages of a GRIB file by their headers: ecCodes skips damaged ones without an error.

Source: WMO-No. 306, Manual on Codes, volume I.2, FM 92 GRIB editions 1 and 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

START, END = b"GRIB", b"7777"
EXTENDED = 0x800000
"""Bit of the length of a GRIB 1 message that counts in units of 120 bytes (ECMWF, messages above 8 MiB)."""
UNIT = 120
HAS_GRID, HAS_BITMAP = 0x80, 0x40
SCAN_BYTES = 2**20


@dataclass(frozen=True)
class Damage:
    """A damaged message.

    Attributes:
        number: Number of complete messages before it.
        offset: Position in the file in bytes.
        last: Offset and length of the complete message before it, or None.
    """

    number: int
    offset: int
    last: tuple[int, int] | None


def damaged_messages(path: Path) -> tuple[list[Damage], int]:
    """Find messages that are cut short, or whose headers and ends are damaged.

    Returns:
        The damaged messages, and the number of complete ones. Changed bytes inside the data of a message
        cannot be detected, since GRIB has no checksums.
    """
    damaged: list[Damage] = []
    n_complete, position, last = 0, 0, None
    with path.open("rb") as file:
        size = path.stat().st_size
        while True:
            start = _find(file, START, position)
            if _is_damaged(file, position, size if start is None else start, last, at_end=start is None):
                damaged.append(Damage(n_complete, position, last))
            if start is None:
                return damaged, n_complete
            length = _length(file, start, size)
            if length is None:
                damaged.append(Damage(n_complete, start, last))
                position = start + len(START)
                following = _find(file, START, position)
                position = size if following is None else following
                continue
            n_complete, position, last = n_complete + 1, start + length, (start, length)


def valid_time(path: Path, message: tuple[int, int]) -> str:
    """Name and valid time of a message as ecCodes decodes it, for messages: ``2t at 2019-03-01T19:00``."""
    import eccodes

    offset, length = message
    with path.open("rb") as file:
        file.seek(offset)
        handle = eccodes.codes_new_from_message(file.read(length))
    try:
        name, date, clock = (
            eccodes.codes_get(handle, key) for key in ("shortName", "validityDate", "validityTime")
        )
    finally:
        eccodes.codes_release(handle)
    day = f"{int(date):08d}"
    return f"{name} at {day[:4]}-{day[4:6]}-{day[6:]}T{int(clock) // 100:02d}:{int(clock) % 100:02d}"


def _find(file: BinaryIO, what: bytes, position: int) -> int | None:
    """Position of some bytes at or after a position."""
    file.seek(position)
    before = b""
    while content := file.read(SCAN_BYTES):
        found = (before + content).find(what)
        if found >= 0:
            return position - len(before) + found
        position += len(content)
        before = (before + content)[-len(what) + 1 :]
    return None


def _is_damaged(file: BinaryIO, start: int, end: int, last: tuple[int, int] | None, at_end: bool) -> bool:
    """Whether bytes between two messages were a message: they end as one, or zeros take the place of one."""
    found = _find(file, END, start)
    if found is not None and found < end:
        return True
    if last is None or at_end or end - start < last[1]:
        return False
    file.seek(start)
    return not any(file.read(last[1]))


def _length(file: BinaryIO, start: int, size: int) -> int | None:
    """Length of a message whose sections add up to it and that ends as it must; else None."""
    file.seek(start)
    head = file.read(16)
    if len(head) < 16:
        return None
    length = _length_1(file, start, head) if head[7] == 1 else _length_2(file, start, head, size)
    if length is None or start + length > size:
        return None
    file.seek(start + length - len(END))
    return length if file.read(len(END)) == END else None


def _length_1(file: BinaryIO, start: int, head: bytes) -> int | None:
    announced = int.from_bytes(head[4:7], "big")
    file.seek(start + 15)
    flags = file.read(1)[0]
    position, section = start + 8, 0
    for wanted in (True, bool(flags & HAS_GRID), bool(flags & HAS_BITMAP), True):
        if wanted:
            file.seek(position)
            section = int.from_bytes(file.read(3), "big")
            position += section
    if announced & EXTENDED and section < UNIT:
        return (announced & ~EXTENDED) * UNIT - section + len(END)
    return announced if position + len(END) == start + announced else None


def _length_2(file: BinaryIO, start: int, head: bytes, size: int) -> int | None:
    if head[7] != 2:
        return None
    announced = int(struct.unpack(">Q", head[8:16])[0])
    position, end = start + 16, start + announced - len(END)
    if start + announced > size:
        return None
    while position < end:
        file.seek(position)
        content = file.read(4)
        section = int.from_bytes(content, "big")
        if section < 5:
            return None
        position += section
    return announced if position == end else None
