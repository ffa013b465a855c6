"""Loaded once by the process that forks the parsers: reads a small file of each kind.

A parser may open nothing, so what it needs must be imported, and have run, before it is forked. Every parser
copies, page by page, what it touches of that: no web framework here, no xarray.
"""

from __future__ import annotations

import os

os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # before HDF5 is loaded: no filter is ever loaded from a folder

import gc
import io
import json

import h5py
import numpy as np
import scipy.io

from service.uploads.json_upload import parse_json
from service.uploads.netcdf_upload import is_hdf5, parse_netcdf
from service.uploads.plain_hdf5 import parse_plain_hdf5

PARSERS = {"json": parse_json, "netcdf": parse_netcdf}
LIMIT_BYTES = 10_000


def parse(kind: str, body: bytes, max_decoded_bytes: int) -> tuple[bytes, bool]:
    """Read an upload.

    Returns:
        The variables as `wire.encode` writes them, and whether Python and Rust read them, so that the process
        is what it was; the HDF5 library is C code, which may have been taken over.
    """
    if kind == "netcdf" and is_hdf5(body):
        answer = parse_plain_hdf5(body, max_decoded_bytes)
        if answer is not None:
            return answer, True
        return parse_netcdf(body, max_decoded_bytes), False
    return PARSERS[kind](body, max_decoded_bytes), True


def _netcdf4(text: bool) -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        values = file.create_dataset(
            "time", data=np.zeros(2, "f4"), chunks=(2,), compression="gzip", shuffle=True
        )
        values.make_scale("time")
        values.attrs["units"] = "K"
        if text:  # which only the HDF5 library reads
            file["name"] = np.array(["a", "b"], h5py.string_dtype())
            file["name"].dims[0].attach_scale(values)
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


parse("netcdf", _netcdf4(text=False), LIMIT_BYTES)
parse("netcdf", _netcdf4(text=True), LIMIT_BYTES)
parse("netcdf", _netcdf3(), LIMIT_BYTES)
parse("json", _json(), LIMIT_BYTES)
gc.collect()
gc.freeze()
