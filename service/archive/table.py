"""The server's table of stored forecasts; requests can reach only its entries."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.archive.soundness import BrokenStore, sound_metadata
from service.archive.stores import find_name, iso_time, stored
from service.formats.statement import STATED
from service.problems import Problem
from service.wire.model_messages import Fault

log = logging.getLogger(__name__)
PER_FORECAST = ("time", "forecast_reference_time")


class UnknownForecast(Problem):
    """There is no stored forecast with that reference time."""

    status = 404
    code = "unknown-forecast"


class ForecastGone(Problem):
    """The stored forecast was removed because of its age."""

    status = 410
    code = "forecast-gone"


@dataclass(frozen=True)
class StoredForecast:
    """One stored forecast.

    Attributes:
        name: Reference time, like 20141231T180000Z.
        path: Folder of the Zarr store.
        metadata: Consolidated metadata of the store.
        files: Files of the store by key.
        form: Text that is equal for forecasts that differ only in times and values.
    """

    name: str
    path: Path
    metadata: dict[str, Any]
    files: dict[str, Path]
    form: str

    @property
    def leads(self) -> int:
        """Number of leads."""
        return int(self.metadata["consolidated_metadata"]["metadata"]["lead"]["shape"][0])

    def facts(self) -> dict[str, Any]:
        """The entry of the forecast in a list, as JSON values."""
        attrs = self.metadata["attributes"]
        names = ("made", "made_when_truth_was_known", *STATED)
        return {
            "reference_time": iso_time(self.name),
            "name": self.name,
            "leads": self.leads,
            **{name: attrs[name] for name in names if name in attrs},
        }


class StoredForecasts:
    """The stored forecasts of one version of a model."""

    def __init__(self) -> None:
        self.by_name: dict[str, StoredForecast] = {}
        self.verification: dict[str, Any] | None = None
        self.faults: tuple[Fault, ...] = ()
        self.version = ""
        self._removed: set[str] = set()
        self._broken: set[Path] = set()

    def refresh(self, folder: Path) -> None:
        """Update the table from the folder; a store never changes, so each is read once.

        Another version of the model has another folder, so that forecasts of the previous version disappear.
        """
        self.version = folder.name
        found, known = stored(folder), {entry.path: entry for entry in self.by_name.values()}
        self._removed = (self._removed | set(self.by_name)) - set(found)
        self.by_name = {
            name: entry
            for name, path in found.items()
            if (entry := known.get(path) or self._read(name, path)) is not None
        }

    def _read(self, name: str, path: Path) -> StoredForecast | None:
        """A store, or None if it is broken: said once, and passed over until the archive sets it aside."""
        try:
            entry = read(name, path)
        except (BrokenStore, OSError) as error:
            if path not in self._broken:
                log.error("the stored forecast from %s is passed over: %s", iso_time(name), error)
            self._broken.add(path)
            return None
        self._broken.discard(path)
        return entry

    def get(self, text: str) -> StoredForecast:
        """Find the forecast of a reference time.

        Args:
            text: Name of the forecast, or the reference time in ISO 8601.

        Raises:
            UnknownForecast: There is no such forecast.
            ForecastGone: The forecast was removed.
        """
        name = find_name(text)
        if name in self.by_name:
            return self.by_name[name]
        if name in self._removed:
            raise ForecastGone(f"The forecast from {iso_time(name)} was removed because of its age.")
        span = f"{len(self.by_name)}"
        if self.by_name:
            span += f", from {iso_time(min(self.by_name))} to {iso_time(max(self.by_name))}"
        raise UnknownForecast(
            f"No forecast from {text[:60]!r} is stored. Number of stored forecasts: {span}."
        )


def read(name: str, path: Path) -> StoredForecast:
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
            if key.startswith(f"{variable}/c") and not per_forecast(variable, arrays[variable]):
                form.update(files[key].read_bytes())
    return StoredForecast(name, path, metadata, files, form.hexdigest())


def per_forecast(variable: str, array: dict[str, Any]) -> bool:
    """Whether a variable differs between forecasts: times, and variables with a lead."""
    return variable in PER_FORECAST or ("lead" in dimensions(array) and variable != "lead")


def dimensions(array: dict[str, Any]) -> list[str]:
    """Names of the dimensions of an array; empty for a scalar, whose metadata have none."""
    return list(array.get("dimension_names") or [])
