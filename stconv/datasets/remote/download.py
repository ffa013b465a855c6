"""Files of formats that cannot be read by ranges, copied once into the cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from stconv.datasets.remote.address import Address
from stconv.datasets.remote.filesystem import content, size, state
from stconv.errors import FileError

PIECE_BYTES = 16 * 2**20


def downloaded(address: Address, folder: Path) -> Path:
    """Return a copy of a file, made once for each of its states; a partial copy is never seen.

    Args:
        address: Address of the file.
        folder: Folder of the copies.

    Raises:
        FileError: There is no such file, no space for it, or it changed meanwhile.
        ConnectionLostError: The connection failed repeatedly.
    """
    before = state(address)
    copy = folder / hashlib.sha256(repr(before).encode()).hexdigest()[:16] / address.name
    if copy.is_file():
        return copy
    part = copy.with_name(f"{copy.name}.part{os.getpid()}")
    n_bytes = size(address)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            if n_bytes is None:
                file.write(content(address))
            else:
                for start in range(0, n_bytes, PIECE_BYTES):
                    piece = content(address, start, min(start + PIECE_BYTES, n_bytes))
                    whole = len(piece) == n_bytes  # a server that does not serve ranges sends all of it
                    file.seek(0 if whole else start)
                    file.write(piece)
                    if whole:
                        break
        if state(address) != before or (n_bytes is not None and part.stat().st_size != n_bytes):
            raise FileError(f"'{address}' changed while it was downloaded. Try again when it is complete.")
        part.replace(copy)
    except OSError as error:
        raise FileError(f"'{address}' cannot be copied to '{folder}' ({error.strerror or error}).") from error
    finally:
        part.unlink(missing_ok=True)
    return copy
