"""Sharing through locks and files of a folder that every server can write.

A lock belongs to an open file, so the system releases it when its server dies, however it dies: on one
machine at once, on NFS 4 after the lease of a machine that is gone (90 s by default).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stconv.errors import ServiceError

TURN_SECONDS = 5.0
"""Longest wait for a turn, s: a server that was stopped in its turn must not stop the others."""
PAUSE_SECONDS = 0.002


class SharedFolder:
    """Tasks, turns and notes of all servers on one folder, see `Sharing`.

    Notes last as long as one server is there.

    Args:
        folder: Folder on a file system with locks between its machines.

    Raises:
        ServiceError: The folder cannot be written, or files in it cannot be locked.
    """

    several = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        self._own = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._presence = self._join()
        except OSError as error:
            raise ServiceError(
                f"The folder '{folder.parent}' cannot be shared: {error.strerror}. Servers share a folder on "
                "a file system with locks, such as a local disk or NFS 4."
            ) from error

    def close(self) -> None:
        """Leave all tasks, and the folder."""
        for task in list(self._held):
            self.release(task)
        os.close(self._presence)

    def hold(self, task: str) -> bool:
        """See `Sharing`."""
        with self._own:
            if task in self._held:
                return True
            descriptor = self._lock(task, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if descriptor is not None:
                self._held[task] = descriptor
            return descriptor is not None

    def holds(self, task: str) -> bool:
        """See `Sharing`."""
        return task in self._held

    def release(self, task: str) -> None:
        """See `Sharing`."""
        with self._own:
            descriptor = self._held.pop(task, None)
            if descriptor is not None:
                self._path(task, "lock").unlink(missing_ok=True)  # while it is locked, see `_lock`
                os.close(descriptor)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """See `Sharing`."""
        end = time.monotonic() + TURN_SECONDS
        while (descriptor := self._lock(f"{name}.turn", fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, f"another server does not end its turn of '{name}'")
            time.sleep(PAUSE_SECONDS)
        try:
            yield
        finally:
            os.close(descriptor)

    def read(self, name: str) -> bytes | None:
        """See `Sharing`."""
        try:
            return self._path(name, "note").read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See `Sharing`."""
        path = self._path(name, "note")
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # process ids repeat in containers
        scratch.write_bytes(content)
        os.replace(scratch, path)

    def _join(self) -> int:
        """Be present; the first server removes the notes of those that were there before.

        Returns:
            The open file whose lock says that a server is present.
        """
        with self.turn("join"):
            presence = os.open(self._path("present", "lock"), os.O_RDWR | os.O_CREAT, 0o666)
            with suppress(BlockingIOError):
                fcntl.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for note in self._folder.glob("*.note"):
                    note.unlink(missing_ok=True)
            fcntl.flock(presence, fcntl.LOCK_SH)
        return presence

    def _lock(self, name: str, how: int) -> int | None:
        """Open and lock a file; None if another server has it locked. `release` may remove it meanwhile."""
        path = self._path(name, "lock")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, how)
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _path(self, name: str, ending: str) -> Path:
        return self._folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.{ending}"
