"""The formats of an answer, and how each is written. Runs in the model's process."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from service.answers import to_json, to_netcdf
from service.coverage import to_coverage
from service.media_types import COVERAGE, JSON, NETCDF, PNG
from service.picture import to_png

WRITERS: dict[str, Callable[[xr.Dataset], bytes]] = {
    NETCDF: to_netcdf,
    JSON: to_json,
    COVERAGE: to_coverage,
    PNG: to_png,
}
