"""Checksums of the metadata of an HDF5 file, which pyfive does not compare.

Source:
    HDF5 file format specification, version 3.0: II (superblock), III.A.2 (version 2 B-trees), III.G (fractal
    heaps), IV.A.1.b (version 2 object headers); the checksum is Bob Jenkins' lookup3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

UNDEFINED = 2**64 - 1
M = 2**32 - 1
CONTINUATION, LAYOUT, LINK_INFO, ATTRIBUTE_INFO = 0x10, 0x08, 0x02, 0x15
"""Numbers of header messages that lead to further blocks."""
CHECKED_BLOCKS = 0x02
"""Flag of a fractal heap whose direct blocks have checksums."""


class NotVerified(Exception):  # noqa: N818 - not an error: the HDF5 library reads the file, and says what is wrong
    """A checksum differs, or a block has a form that is not known here."""


def verify_metadata(body: bytes, addresses: Iterable[int]) -> None:
    """Compare the checksums of the superblock and of everything that describes these objects.

    Args:
        body: Content of the file.
        addresses: Addresses of the object headers, without that of the root group.

    Raises:
        NotVerified: A checksum differs, or a block has a form that is not known here.
    """
    try:
        for address in (*_roots(body), *addresses):
            _verify_object(body, address)
    except (struct.error, IndexError) as error:
        raise NotVerified from error


def _roots(body: bytes) -> list[int]:
    """Addresses of the root group and of the superblock's extension."""
    version = body[8]
    if version < 2:  # without a checksum; the root group may have one nevertheless
        _require(body[13:15] == b"\x08\x08")
        return list(struct.unpack_from("<Q", body, 64 + 4 * version))
    _require(version <= 3 and body[9:11] == b"\x08\x08")
    _compare(body, 0, 48)
    base, extension, _, root = struct.unpack_from("<4Q", body, 12)
    _require(base == 0)
    return [root] if extension == UNDEFINED else [root, extension]


def lookup3(data: bytes, initial: int = 0) -> int:
    """The checksum of a block, 32 bits."""
    n = len(data)
    a = b = c = (0xDEADBEEF + n + initial) & M
    if n == 0:
        return c
    whole = (n - 1) // 12
    words = struct.unpack_from(f"<{3 * whole}I", data)
    for i in range(0, 3 * whole, 3):
        a, b, c = (a + words[i]) & M, (b + words[i + 1]) & M, (c + words[i + 2]) & M
        a = ((a - c) & M) ^ ((c << 4 | c >> 28) & M)
        c = (c + b) & M
        b = ((b - a) & M) ^ ((a << 6 | a >> 26) & M)
        a = (a + c) & M
        c = ((c - b) & M) ^ ((b << 8 | b >> 24) & M)
        b = (b + a) & M
        a = ((a - c) & M) ^ ((c << 16 | c >> 16) & M)
        c = (c + b) & M
        b = ((b - a) & M) ^ ((a << 19 | a >> 13) & M)
        a = (a + c) & M
        c = ((c - b) & M) ^ ((b << 4 | b >> 28) & M)
        b = (b + a) & M
    last = struct.unpack("<3I", data[12 * whole :].ljust(12, b"\0"))
    a, b, c = (a + last[0]) & M, (b + last[1]) & M, (c + last[2]) & M
    c = ((c ^ b) - (b << 14 | b >> 18)) & M
    a = ((a ^ c) - (c << 11 | c >> 21)) & M
    b = ((b ^ a) - (a << 25 | a >> 7)) & M
    c = ((c ^ b) - (b << 16 | b >> 16)) & M
    a = ((a ^ c) - (c << 4 | c >> 28)) & M
    b = ((b ^ a) - (a << 14 | a >> 18)) & M
    return ((c ^ b) - (b << 24 | b >> 8)) & M


def _compare(body: bytes, start: int, size: int) -> None:
    """Compare the checksum in the last four bytes of a block with that of the others."""
    end = start + size - 4
    _require(0 <= start <= end <= len(body) - 4)
    _require(lookup3(body[start:end]) == struct.unpack_from("<I", body, end)[0])


def _require(known: bool) -> None:
    if not known:
        raise NotVerified


def _verify_object(body: bytes, address: int) -> None:
    """An object header of version 2, its continuations, and the heaps and trees that they name."""
    if body[address : address + 4] != b"OHDR":
        _require(body[address] == 1)  # the first version has no checksum
        return
    flags = body[address + 5]
    begin = address + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    width = 1 << (flags & 3)
    size = int.from_bytes(body[begin : begin + width], "little")
    begin += width
    _compare(body, address, begin + size + 4 - address)
    chunks = [(begin, begin + size)]
    seen = 0
    while chunks:
        seen += 1
        _require(seen < 1000)  # chunks that name each other
        at, end = chunks.pop()
        head = 6 if flags & 0x04 else 4
        while at + head <= end:
            kind, length = struct.unpack_from("<BH", body, at)
            message = body[at + head : at + head + length]
            if kind == CONTINUATION:
                where, long = struct.unpack_from("<QQ", message)
                _require(body[where : where + 4] == b"OCHK")
                _compare(body, where, long)
                chunks.append((where + 4, where + long - 4))
            elif kind == LAYOUT:
                _require(message[0] <= 3)  # later ones index their chunks in blocks with checksums
            elif kind in (LINK_INFO, ATTRIBUTE_INFO):
                _verify_dense(body, message, 8 if kind == LINK_INFO else 2)
            at += head + length


def _verify_dense(body: bytes, message: bytes, index_bytes: int) -> None:
    """The heap and the trees of links or attributes that are too many for the header."""
    at = 2 + index_bytes * bool(message[1] & 1)
    heap, *trees = struct.unpack_from("<QQQ" if message[1] & 2 else "<QQ", message, at)
    if heap != UNDEFINED:
        _verify_heap(body, heap)
    for tree in trees:
        if tree != UNDEFINED:
            _verify_tree(body, tree)


def _verify_tree(body: bytes, address: int) -> None:
    """A version 2 B-tree of one leaf, or of leaves below one node."""
    _require(body[address : address + 4] == b"BTHD")
    _compare(body, address, 38)
    node_bytes, record, depth = struct.unpack_from("<IHH", body, address + 6)
    root, count = struct.unpack_from("<QH", body, address + 16)
    _require(depth <= 1 and record > 0)
    if root == UNDEFINED:
        return
    leaves = [(root, count)]
    if depth == 1:
        width = (((node_bytes - 10) // record).bit_length() + 7) // 8
        _require(body[root : root + 4] == b"BTIN")
        at = root + 6 + record * count
        _compare(body, root, at + (count + 1) * (8 + width) + 4 - root)
        entries = range(at, at + (count + 1) * (8 + width), 8 + width)
        parts = [(body[entry : entry + 8], body[entry + 8 : entry + 8 + width]) for entry in entries]
        leaves = [(int.from_bytes(a, "little"), int.from_bytes(b, "little")) for a, b in parts]
    for leaf, records in leaves:
        _require(body[leaf : leaf + 4] == b"BTLF")
        _compare(body, leaf, 6 + record * records + 4)


def _verify_heap(body: bytes, address: int) -> None:
    """A fractal heap without filters, of one block or of one table of blocks."""
    _require(body[address : address + 4] == b"FRHP")
    _compare(body, address, 146)
    filters, flags = struct.unpack_from("<HB", body, address + 7)
    columns, smallest, largest, bits = struct.unpack_from("<HQQH", body, address + 110)
    root, rows = struct.unpack_from("<QH", body, address + 132)
    _require(filters == 0 and 0 < smallest <= largest and columns > 0)
    offset = (bits + 7) // 8
    if root == UNDEFINED:
        return
    if rows == 0:
        _verify_block(body, root, smallest, offset, flags)
        return
    _require(rows <= (largest // smallest).bit_length() + 1)  # else there are tables of tables
    _require(body[root : root + 4] == b"FHIB")
    table = root + 13 + offset
    _compare(body, root, 13 + offset + 8 * rows * columns + 4)
    for number, child in enumerate(struct.unpack_from(f"<{rows * columns}Q", body, table)):
        row = number // columns
        if child != UNDEFINED:
            _verify_block(body, child, smallest << max(0, row - 1), offset, flags)


def _verify_block(body: bytes, address: int, size: int, offset: int, flags: int) -> None:
    """A direct block, whose checksum stands in front of its content and counts as zero."""
    _require(body[address : address + 4] == b"FHDB" and address + size <= len(body))
    if not flags & CHECKED_BLOCKS:
        return
    at = address + 13 + offset
    block = body[address:at] + bytes(4) + body[at + 4 : address + size]
    _require(lookup3(block) == struct.unpack_from("<I", body, at)[0])
