"""Table from media type of an answer to its writer."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from service.formats.answers import to_json, to_netcdf
from service.formats.coverage import to_coverage
from service.formats.picture import to_png
from service.media_types import COVERAGE, JSON, NETCDF, PNG

WRITERS: dict[str, Callable[[xr.Dataset], bytes]] = {
    NETCDF: to_netcdf,
    JSON: to_json,
    COVERAGE: to_coverage,
    PNG: to_png,
}
