"""Preparation of the fork server of the parsers: reads a small file of each kind at import.

A parser cannot open files, so its modules must be imported, and must have run, before the fork. Parsers copy
the memory pages that they write to, so neither the web framework nor xarray is imported.
"""

from __future__ import annotations

import os

os.environ["HDF5_PLUGIN_PRELOAD"] = (
    "::"  # set before HDF5 is loaded, so that it never loads a filter plugin from a folder
)

import gc
import io
import json

import h5py
import numpy as np
import scipy.io

from service.problems import Unprocessable
from service.uploads.json_upload import parse_json
from service.uploads.netcdf_upload import is_hdf5, parse_netcdf
from service.uploads.plain_hdf5 import parse_plain_hdf5
from service.wire.codec import sizes
from service.wire.parser_messages import ReadJson, ReadNetcdf, ToParser

LIMIT_BYTES = 10_000


def parse(upload: ToParser, max_decoded_bytes: int) -> tuple[bytes, bool]:
    """Read an upload.

    Returns:
        The raw variables, encoded by `wire.codec.encode`, and whether memory-safe Python or Rust code read
        them; the HDF5 library is C code, which a hostile file may have compromised.

    Raises:
        Problem: The upload cannot be read, is too large, or holds no variable with a dimension.
    """
    fields, untouched = _PARSERS[type(upload)](upload.body, max_decoded_bytes)
    if not sizes(fields):
        raise Unprocessable("The upload holds no variable with a dimension.", kind="variable")
    return fields, untouched


def _parse_json(body: bytes, limit: int) -> tuple[bytes, bool]:
    return parse_json(body, limit), True


def _parse_netcdf(body: bytes, limit: int) -> tuple[bytes, bool]:
    if not is_hdf5(body):
        return parse_netcdf(body, limit), True
    fields = parse_plain_hdf5(body, limit)
    return (parse_netcdf(body, limit), False) if fields is None else (fields, True)


_PARSERS = {ReadJson: _parse_json, ReadNetcdf: _parse_netcdf}


def _netcdf4(text: bool) -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        values = file.create_dataset(
            "time", data=np.zeros(2, "f4"), chunks=(2,), compression="gzip", shuffle=True
        )
        values.make_scale("time")
        values.attrs["units"] = "K"
        if text:  # a file that only the HDF5 library reads
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


parse(ReadNetcdf(_netcdf4(text=False)), LIMIT_BYTES)
parse(ReadNetcdf(_netcdf4(text=True)), LIMIT_BYTES)
parse(ReadNetcdf(_netcdf3()), LIMIT_BYTES)
parse(ReadJson(_json()), LIMIT_BYTES)
gc.collect()
gc.freeze()
