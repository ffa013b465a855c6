"""The array libraries that xarray looks for when it makes its first array."""

from __future__ import annotations

import sys

SOUGHT = ("dask.array", "pint")
"""Libraries that xarray imports, if they are installed, to ask whether an array is one of theirs."""


def skip_search() -> None:
    """Tell xarray that no array of this process is one of theirs, for a command that has to answer at once.

    xarray (2026.9, `xarray/namedarray/pycompat.py`) searches once and remembers the outcome. The imports,
    those of scipy among them, are a third of the time in which `stconv inspect` describes a small file. A
    large file is read through dask all the same: xarray only asks here whether an array of dask is masked.
    """
    hidden = [name for name in SOUGHT if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
        import xarray as xr

        xr.Dataset({"any": ("x", [0.0])}, {"x": [0]})
    finally:
        for name in hidden:
            del sys.modules[name]
