"""The record of everything that was stored: an address keeps its meaning when a forecast is removed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from stconv.durable import write_whole

log = logging.getLogger(__name__)
RECORD = "record.json"
MOST_ENTRIES = 5000
"""Number of entries that are kept, the last ones; earlier forecasts are as unknown as those never made."""


@dataclass(frozen=True)
class Entry:
    """A forecast that was stored.

    Attributes:
        version: Version of the model, as in its folder.
        name: Reference time, like 20141231T180000Z.
        made: Time at which it was made, ISO 8601.
        form: See `StoredForecast.form`.
    """

    version: str
    name: str
    made: str
    form: str


class Record:
    """The stored forecasts of one model, over all versions, in the order in which they were first seen.

    Args:
        folder: Folder of the model in the archive.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self._state: tuple[int, int] | None = None
        self._entries: dict[tuple[str, str], Entry] = {}
        self._first: dict[str, Entry] = {}

    def load(self) -> None:
        """Read what is new in the file, which another server may have written."""
        try:
            state = (self._path.stat().st_mtime_ns, self._path.stat().st_ino)
            if state == self._state:
                return
            self._set([Entry(*map(str, fields)) for fields in json.loads(self._path.read_text())])
            self._state = state
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError) as error:
            log.error("the record of stored forecasts cannot be read: %s", error)

    def add(self, entries: Sequence[Entry]) -> None:
        """Add forecasts that are not in the record yet, and write it."""
        new = [entry for entry in entries if (entry.version, entry.name) not in self._entries]
        if not new:
            return
        kept = [*self._entries.values(), *sorted(new, key=lambda entry: (entry.made, entry.name))]
        self._set(kept[-MOST_ENTRIES:])
        try:
            write_whole(self._path, json.dumps([astuple(entry) for entry in self._entries.values()]).encode())
        except OSError as error:  # what is stored is served nevertheless
            log.error("the record of stored forecasts cannot be written: %s", error)

    def of(self, version: str) -> list[Entry]:
        """The forecasts of one version, removed ones included, by reference time."""
        return sorted(
            (entry for entry in self._entries.values() if entry.version == version), key=lambda e: e.name
        )

    def first(self, name: str) -> Entry | None:
        """The forecast that was stored first from a reference time: it was the operational one."""
        return self._first.get(name)

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Whether a version stored a forecast from a reference time."""
        return key in self._entries

    def _set(self, entries: Sequence[Entry]) -> None:
        self._entries = {(entry.version, entry.name): entry for entry in entries}
        self._first = {entry.name: entry for entry in reversed(list(self._entries.values()))}
