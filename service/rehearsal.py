"""Loaded once by the process that forks the parsers: reads a small file of each kind.

A parser may open nothing, so what it needs must be imported, and have run, before it is forked.
"""

from __future__ import annotations

import io
import json

import h5netcdf
import h5py
import numpy as np
import scipy.io

from service.json_upload import parse_json
from service.netcdf_upload import parse_netcdf

PARSERS = {"json": parse_json, "netcdf": parse_netcdf}
LIMIT_BYTES = 10_000


def _netcdf4() -> bytes:
    target = io.BytesIO()
    with h5netcdf.File(target, "w") as file:
        file.dimensions = {"time": 2}
        values = file.create_variable("time", ("time",), "f4", chunks=(2,), compression="gzip", shuffle=True)
        values[...] = np.zeros(2, "f4")
        values.attrs["units"] = "K"
        file.create_variable("name", ("time",), h5py.string_dtype())[...] = np.array(["a", "b"], object)
    return target.getvalue()


def _netcdf3() -> bytes:
    target = io.BytesIO()
    file = scipy.io.netcdf_file(target, "w")
    file.createDimension("time", 2)
    file.createVariable("time", "f4", ("time",))[:] = 0
    file.flush()
    return target.getvalue()


def _json() -> bytes:
    values = {"v": {"units": "K", "values": [[[None]]]}}
    return json.dumps(
        {"time": ["2000-01-01"], "latitude": [0], "longitude": [0], "variables": values}
    ).encode()


parse_netcdf(_netcdf4(), LIMIT_BYTES)
parse_netcdf(_netcdf3(), LIMIT_BYTES)
parse_json(_json(), LIMIT_BYTES)
