"""The server's table of stored forecasts; requests can reach only its entries."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.archive.record import Entry, Record
from service.archive.soundness import (
    BrokenStore,
    lead_of_arrays,
    n_leads,
    reference_of_arrays,
    sound_metadata,
)
from service.archive.stores import VERSION_LETTERS, find_name, iso_time, stored
from service.formats.statement import STATED
from service.problems import Problem
from service.wire.model_messages import Fault

log = logging.getLogger(__name__)
_VERSION = re.compile(f"[0-9a-f]{{{VERSION_LETTERS}}}")


class UnknownForecast(Problem):
    """There is no stored forecast with that reference time.

    Remedy: Choose a time of `GET /v1/forecasts`.
    """

    status = 404
    code = "unknown-forecast"


class ForecastGone(Problem):
    """The stored forecast was removed.

    Remedy: Choose a newer time of `GET /v1/forecasts`; raise `STCONV_SERVE_ARCHIVE_KEEP` to keep more.
    """

    status = 410
    code = "forecast-gone"


@dataclass(frozen=True)
class StoredForecast:
    """One stored forecast.

    Attributes:
        version: Version of the model, as in its folder.
        name: Reference time, like 20141231T180000Z.
        path: Folder of the Zarr store.
        metadata: Consolidated metadata of the store.
        files: Files of the store by key.
        form: Text that is equal for forecasts that differ only in times and values.
    """

    version: str
    name: str
    path: Path
    metadata: dict[str, Any]
    files: dict[str, Path]
    form: str

    @property
    def id(self) -> str:
        """Its name with its version, which no other forecast ever has."""
        return f"{self.name}.{self.version}"

    @property
    def made(self) -> str:
        """Time at which it was made, ISO 8601; "" if it does not say so."""
        return str(self.metadata["attributes"].get("made", ""))

    @property
    def arrays(self) -> dict[str, Any]:
        """Metadata of each variable."""
        arrays: dict[str, Any] = self.metadata["consolidated_metadata"]["metadata"]
        return arrays

    @property
    def leads(self) -> int:
        """Number of leads."""
        return n_leads(self.arrays)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Shape of each field, without coordinates."""
        lead = lead_of_arrays(self.arrays)
        along = {name: dimensions(array) for name, array in self.arrays.items()}
        return {
            name: self.arrays[name]["shape"] for name, dims in along.items() if lead in dims and len(dims) > 1
        }

    def facts(self) -> dict[str, Any]:
        """The entry of the forecast in a list, as JSON values."""
        attrs = self.metadata["attributes"]
        names = ("made", "made_when_truth_was_known", *STATED)
        return {
            "reference_time": iso_time(self.name),
            "name": self.name,
            "id": self.id,
            "leads": self.leads,
            **{name: attrs[name] for name in names if name in attrs},
        }


class StoredForecasts:
    """The stored forecasts of one model, over all its versions.

    An address is a reference time, and may end in `.VERSION`. Without a version it means the forecast that
    was stored first from that time, so that its content does not change when another version is served.

    Attributes:
        version: Version that is served.
        verification: Live verification of that version, as JSON values.
        faults: Data and stores that are passed over at present.
        newest_frame: Time of the newest observed field, ISO 8601; None before it is known.
    """

    def __init__(self) -> None:
        self.version = ""
        self.verification: dict[str, Any] | None = None
        self.faults: tuple[Fault, ...] = ()
        self.newest_frame: str | None = None
        self._by_version: dict[str, dict[str, StoredForecast]] = {}
        self._record: Record | None = None
        self._broken: set[Path] = set()

    @property
    def by_name(self) -> dict[str, StoredForecast]:
        """The forecasts of the version that is served, by reference time."""
        return self._by_version.get(self.version, {})

    @property
    def earlier(self) -> list[StoredForecast]:
        """The forecasts of other versions that are still stored, by reference time."""
        others = (f for v, found in self._by_version.items() if v != self.version for f in found.values())
        return sorted(others, key=lambda forecast: (forecast.name, forecast.made))

    def refresh(self, folder: Path, keep_record: bool = True) -> None:
        """Update the table from the folder of the served version and from those beside it.

        Args:
            folder: Folder of the version that is served.
            keep_record: Whether this server writes the record.
        """
        known = {f.path: f for found in self._by_version.values() for f in found.values()}
        record = self._record = self._record or Record(folder.parent)
        record.load()
        found: dict[str, dict[str, StoredForecast]] = {}
        for version in sorted(folder.parent.iterdir()) if folder.parent.is_dir() else ():
            if version.is_dir() and not version.name.startswith("."):
                paths = stored(version).items()
                entries = (known.get(path) or self._read(version.name, name, path) for name, path in paths)
                found[version.name] = {entry.name: entry for entry in entries if entry is not None}
        if keep_record:
            record.add([Entry(f.version, f.name, f.made, f.form) for v in found.values() for f in v.values()])
        self.version, self._by_version = folder.name, found

    def _read(self, version: str, name: str, path: Path) -> StoredForecast | None:
        """A store, or None if it is broken: said once, and passed over until the archive sets it aside."""
        try:
            entry = read(version, name, path)
        except (BrokenStore, OSError) as error:
            if path not in self._broken:
                log.error("the stored forecast from %s is passed over: %s", iso_time(name), error)
            self._broken.add(path)
            return None
        self._broken.discard(path)
        return entry

    def get(self, text: str) -> StoredForecast:
        """Find the forecast of an address.

        Args:
            text: Name of the forecast, or the reference time in ISO 8601; `.VERSION` may follow.

        Raises:
            UnknownForecast: There is no such forecast.
            ForecastGone: The forecast was removed.
        """
        time, version = self.split(text)
        name = find_name(time)
        if name is not None and not version:
            version = self.operational(name)
        found = self._by_version.get(version, {}).get(name or "")
        if found is not None:
            return found
        if name is not None and version and (self._recorded(version, name) or not self._knows(version)):
            raise ForecastGone(
                f"The forecast from {iso_time(name)} by version {version} was removed because of its age."
            )
        span = f"{len(self.by_name)}"
        if self.by_name:
            span += f", from {iso_time(min(self.by_name))} to {iso_time(max(self.by_name))}"
        raise UnknownForecast(
            f"No forecast from {text[:60]!r} is stored. Number of stored forecasts: {span}."
        )

    def between(self, first: str, last: str, version: str) -> list[StoredForecast | None]:
        """Find the forecasts of a period that one version stored before the last of them, of equal form.

        Args:
            first: Reference time of the first forecast.
            last: Reference time of the last forecast.
            version: Version of the model; "" for that of the first forecast.

        Returns:
            The forecasts; None for each that was removed.

        Raises:
            UnknownForecast: The first or the last is not stored.
            ForecastGone: The first or the last was removed.
        """
        begin = self.get(f"{first}.{version}" if version else first)
        end = self.get(f"{last}.{version}" if version else last)
        if end.version != begin.version:
            raise UnknownForecast(
                f"The forecasts from {first[:40]!r} and {last[:40]!r} are of different versions of the "
                "model. Name one: FIRST--LAST.VERSION."
            )
        if end.name < begin.name:
            raise UnknownForecast(f"'{first[:40]}--{last[:40]}' ends before it begins.")
        assert self._record is not None
        here = self._by_version[begin.version]
        return [
            here.get(entry.name)
            for entry in self._record.of(begin.version)
            if begin.name <= entry.name <= end.name and entry.form == begin.form and entry.made <= end.made
        ]

    def split(self, text: str) -> tuple[str, str]:
        """Split an address into its time and the version, "" if it names none."""
        time, dot, version = text.rpartition(".")
        if dot and (self._knows(version) or _VERSION.fullmatch(version)):
            return time, version
        return text, ""

    def operational(self, name: str) -> str:
        """The version that stored a forecast from a reference time first; "" if none did."""
        entry = self._record.first(name) if self._record else None
        return entry.version if entry else ""

    def _recorded(self, version: str, name: str) -> bool:
        return self._record is not None and (version, name) in self._record

    def _knows(self, version: str) -> bool:
        return version in self._by_version or (self._record is not None and bool(self._record.of(version)))


def read(version: str, name: str, path: Path) -> StoredForecast:
    """Read the metadata of a store and list its files.

    Raises:
        BrokenStore: It is incomplete.
    """
    metadata = sound_metadata(path)
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    arrays = metadata["consolidated_metadata"]["metadata"]
    form = hashlib.sha256()
    for variable in sorted(arrays):
        facts = {key: value for key, value in arrays[variable].items() if key != "attributes"}
        form.update(json.dumps([variable, facts], sort_keys=True).encode())
        for key in sorted(files):
            if key.startswith(f"{variable}/c") and not per_forecast(variable, arrays):
                form.update(files[key].read_bytes())
    return StoredForecast(version, name, path, metadata, files, form.hexdigest())


def per_forecast(variable: str, arrays: dict[str, Any]) -> bool:
    """Whether a variable differs between forecasts: times, and variables with a lead."""
    lead = lead_of_arrays(arrays)
    along_lead = lead in dimensions(arrays[variable]) and variable != lead
    return along_lead or variable == reference_of_arrays(arrays)


def dimensions(array: dict[str, Any]) -> list[str]:
    """Names of the dimensions of an array; empty for a scalar, whose metadata have none."""
    return list(array.get("dimension_names") or [])
