"""The folder of everything that can be downloaded or computed again, and the names of its parts."""

from __future__ import annotations

import os
from pathlib import Path

SERIES = "series"
"""Folder for cached series that do not fit in memory, next to the folders of recipes."""
DOWNLOADS = "downloads"
"""Folder for copies of files from the network whose formats cannot be read by ranges."""


def cache_dir() -> Path:
    """Folder for downloads: ``STCONV_CACHE``, else ``~/.cache/stconv``."""
    return Path(os.environ.get("STCONV_CACHE") or Path.home() / ".cache" / "stconv").expanduser()
