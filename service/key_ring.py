"""The keys that a server accepts now: those of its settings, and those of a file that may change."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from service.api_keys import ApiKey, read_file
from stconv.errors import ConfigError

log = logging.getLogger(__name__)


class KeyRing:
    """The accepted keys; the file is read again when it has changed, so that no restart is needed.

    Args:
        given: Keys of the settings.
        path: File of further keys, written by `stconv key`; None for no file.

    Raises:
        ConfigError: The file cannot be read.
    """

    def __init__(self, given: Iterable[ApiKey], path: Path | None) -> None:
        self._given, self._path = tuple(given), path
        self._stamp = None if path is None else _stamp(path)
        self._stored = () if path is None else tuple(read_file(path))
        self.required = path is not None or bool(self._given)
        """Whether requests need a key; a file whose last key was removed opens nothing."""

    def accepted(self) -> tuple[ApiKey, ...]:
        """All accepted keys, also those that have ended; while the file cannot be read, those it had."""
        if self._path is not None and (stamp := _stamp(self._path)) != self._stamp:
            self._stamp = stamp  # so that a fault is logged once
            try:
                self._stored = tuple(read_file(self._path))
                log.info("the file of API keys has changed; it holds %d keys", len(self._stored))
            except ConfigError as error:
                log.error("the API keys stay as they were: %s", error)
        return self._given + self._stored


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
