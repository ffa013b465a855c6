"""The folder of stored forecasts: a Zarr store for each reference time, under the model and its version.

FOLDER/MODEL/VERSION/20141231T180000Z.zarr    written under a temporary name, never changed, removed when old
FOLDER/MODEL/VERSION/scores.nc                error sums of the verified forecasts
FOLDER/MODEL/VERSION/widening.json            how far the bands were widened by what the truth showed
FOLDER/MODEL/record.json                      what was ever stored, see `record.py`
"""

from __future__ import annotations

import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stconv.clock import DAY, GREGORIAN_CALENDARS

SUFFIX = ".zarr"
SET_ASIDE = ".set-aside"
"""Ends the name of a store, or of scores, that is damaged or of a wrong time."""
SCORES = "scores.nc"
WIDENING = "widening.json"
VERSION_LETTERS = 12
_STORED = re.compile(r"\d{8}T\d{6}Z")


def version_folder(root: Path, model: str, bundle_sha256: str) -> Path:
    """Return the folder of one version; the model's name is made safe for a folder name."""
    return root / re.sub(r"[^\w.-]|^\.", "_", model) / bundle_sha256[:VERSION_LETTERS]


def reference_name(when: Any) -> str:
    """Return the name of a reference time (datetime64 or cftime) in files and URLs: 20141231T180000Z."""
    if hasattr(when, "strftime"):
        return str(when.strftime("%Y%m%dT%H%M%SZ"))
    return re.sub("[-:]", "", str(when.astype("datetime64[s]"))) + "Z"


def iso_time(name: str) -> str:
    """Return the ISO 8601 time of a name: 2014-12-31T18:00:00Z."""
    return f"{name[:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:{name[11:13]}:{name[13:15]}Z"


def unix_time(name: str, calendar: str) -> float | None:
    """Return the time of a name in seconds since 1970; None before, or in another calendar."""
    if calendar not in GREGORIAN_CALENDARS or name < "1970":
        return None
    return datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def find_name(text: str) -> str | None:
    """Return the name for a client's time, given as a name or in ISO 8601; None if it is neither."""
    if _STORED.fullmatch(text):
        return text
    name = re.sub(r"\+00:?00$|Z$", "", text.strip()).replace("-", "").replace(":", "").replace(" ", "T")
    name = f"{name:0<15}Z" if re.fullmatch(r"\d{8}T\d{2}(\d{2}){0,2}", name) else name
    return name if _STORED.fullmatch(name) else None


def stored(folder: Path) -> dict[str, Path]:
    """List the stores of a version by name, oldest reference time first."""
    if not folder.is_dir():
        return {}
    found = {path.name.removesuffix(SUFFIX): path for path in folder.iterdir() if path.suffix == SUFFIX}
    return {name: found[name] for name in sorted(found) if _STORED.fullmatch(name)}


def prune(folder: Path, keep: int, days: float | None) -> None:
    """Remove the oldest stores, of this version and of older ones, and the remains of interrupted writes.

    Within a version those with the oldest reference times go, so that a forecast that was made late, from a
    frame that came late, leaves no hole behind it.

    Args:
        folder: Folder of the version that is served.
        keep: Number of forecasts to keep, over all versions.
        days: Age at which forecasts are removed, days; None for no limit.
    """
    if not folder.parent.is_dir():
        return
    for path in folder.parent.glob("*/.*"):
        shutil.rmtree(path, ignore_errors=True)
    versions = [
        sorted((path.name, path.stat().st_mtime, path) for path in version.glob(f"*{SUFFIX}"))
        for version in folder.parent.iterdir()
        if version.is_dir()
    ]
    versions.sort(key=lambda stores: max((when for _, when, _ in stores), default=0.0))
    oldest = -float("inf") if days is None else time.time() - DAY.seconds * days
    surplus = sum(map(len, versions)) - keep
    for stores in versions:  # the version that was used longest ago first, each from its first reference time
        aged = max((i + 1 for i, (_, when, _) in enumerate(stores) if when < oldest), default=0)
        for _, _, path in stores[: max(aged, surplus)]:
            hidden = path.with_name(f".{path.name}")  # renamed first, so that the store disappears as a whole
            path.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        surplus -= min(len(stores), max(aged, surplus, 0))
    for other in folder.parent.iterdir():
        if other != folder and not stored(other):
            shutil.rmtree(other, ignore_errors=True)


def as_instant(name: str) -> datetime:
    """Return the time of a name, Gregorian calendar, UTC."""
    return datetime.fromisoformat(iso_time(name))
