"""The folder of stored forecasts: a Zarr store for each reference time, under the model and its version.

FOLDER/MODEL/VERSION/20141231T180000Z.zarr    written beside and renamed, never changed, removed when too old
FOLDER/MODEL/VERSION/scores.nc                sums of errors of those whose truth came in
"""

from __future__ import annotations

import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from stconv.clock import DAY

SUFFIX = ".zarr"
SCORES = "scores.nc"
VERSION_LETTERS = 12
_STORED = re.compile(r"\d{8}T\d{6}Z")


def version_folder(root: Path, model: str, bundle_sha256: str) -> Path:
    """Where the forecasts of one version are; the model's name is made safe for a folder."""
    return root / re.sub(r"[^\w.-]|^\.", "_", model) / bundle_sha256[:VERSION_LETTERS]


def reference_name(when: Any) -> str:
    """What a reference time (datetime64 or cftime) is called in files and URLs: 20141231T180000Z."""
    if hasattr(when, "strftime"):
        return str(when.strftime("%Y%m%dT%H%M%SZ"))
    return re.sub("[-:]", "", str(when.astype("datetime64[s]"))) + "Z"


def iso_time(name: str) -> str:
    """The time of a name: 2014-12-31T18:00:00Z."""
    return f"{name[:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:{name[11:13]}:{name[13:15]}Z"


def find_name(text: str) -> str | None:
    """The name that a client means by a time, written as a name or as ISO 8601; None if it is neither."""
    if _STORED.fullmatch(text):
        return text
    name = re.sub(r"\+00:?00$|Z$", "", text.strip()).replace("-", "").replace(":", "").replace(" ", "T")
    name = f"{name:0<15}Z" if re.fullmatch(r"\d{8}T\d{2}(\d{2}){0,2}", name) else name
    return name if _STORED.fullmatch(name) else None


def stored(folder: Path) -> dict[str, Path]:
    """The stores of a version by name, oldest reference time first."""
    if not folder.is_dir():
        return {}
    found = {path.name.removesuffix(SUFFIX): path for path in folder.iterdir() if path.suffix == SUFFIX}
    return {name: found[name] for name in sorted(found) if _STORED.fullmatch(name)}


def prune(folder: Path, keep: int, days: float | None) -> None:
    """Remove what was made longest ago, of this version and of older ones, and what broken writes left.

    Args:
        folder: Folder of the version that is served.
        keep: Number of forecasts to keep, of all versions together.
        days: Age to keep; None: any.
    """
    if not folder.parent.is_dir():
        return
    for path in folder.parent.glob("*/.*"):
        shutil.rmtree(path, ignore_errors=True)
    made = sorted((path.stat().st_mtime, path) for path in folder.parent.glob(f"*/*{SUFFIX}"))
    oldest = -float("inf") if days is None else time.time() - DAY.seconds * days
    for number, (when, path) in enumerate(made):
        if number < len(made) - keep or when < oldest:
            hidden = path.with_name(f".{path.name}")  # gone at once, not file by file
            path.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
    for other in folder.parent.iterdir():
        if other != folder and not stored(other):
            shutil.rmtree(other, ignore_errors=True)


def as_instant(name: str) -> datetime:
    """The time of a name in the Gregorian calendar, UTC."""
    return datetime.fromisoformat(iso_time(name))
