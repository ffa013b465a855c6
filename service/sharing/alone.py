"""The interface to all that servers share, and the server that has nobody to share with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Sharing(Protocol):
    """Tasks that one server at a time holds, turns that exclude each other, and notes that all may read.

    Attributes:
        several: Whether other servers may hold, and may have written, what this one does not.
    """

    several: bool

    def hold(self, task: str) -> bool:
        """Take a task, or keep it, until `release` or the end of this process.

        Returns:
            Whether this server holds it; False while another one does.
        """

    def holds(self, task: str) -> bool:
        """Whether this server holds a task; asks nobody."""

    def release(self, task: str) -> None:
        """Leave a task to the other servers."""

    def turn(self, name: str) -> AbstractContextManager[None]:
        """Wait for a short section in which no other server or thread is; not reentrant.

        Raises:
            OSError: Another server does not leave it.
        """

    def read(self, name: str) -> bytes | None:
        """The content of a note; None if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Replace a note as a whole.

        Raises:
            OSError: It cannot be written.
        """


class Alone:
    """A single server: it holds every task, and its notes end with it."""

    several = False

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._notes: dict[str, bytes] = {}
        self._turn = threading.Lock()

    def hold(self, task: str) -> bool:
        """See `Sharing`."""
        self._held.add(task)
        return True

    def holds(self, task: str) -> bool:
        """See `Sharing`."""
        return task in self._held

    def release(self, task: str) -> None:
        """See `Sharing`."""
        self._held.discard(task)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """See `Sharing`."""
        with self._turn:
            yield

    def read(self, name: str) -> bytes | None:
        """See `Sharing`."""
        return self._notes.get(name)

    def write(self, name: str, content: bytes) -> None:
        """See `Sharing`."""
        self._notes[name] = content
