"""Files and folders that are whole or not there, also after a power cut: synced, then renamed."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def beside(path: Path) -> Path:
    """Name for a file or a folder under way, which no other thread, process or machine takes.

    The id of a process would not do: servers in containers share a folder, and each has the id 1.
    """
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, sync it, and rename it.

    Raises:
        OSError: The disk is full.
    """
    scratch = beside(path)
    try:
        scratch.write_bytes(content)
        put_in_place(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def put_in_place(scratch: Path, path: Path) -> None:
    """Rename a file or a folder to its final name, once all of it is on the disk.

    Raises:
        OSError: It cannot be written or renamed.
    """
    for folder, _, names in os.walk(scratch):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
    if scratch.is_file():
        sync(scratch)
    os.replace(scratch, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk.

    Raises:
        OSError: It cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
