"""Bounds of what can be counted in an upload, and the end of a parser that does not return."""

import asyncio
import io
import json
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from service.problems import Unprocessable
from service.settings import Settings
from service.uploads.rehearsal import parse
from service.wire.parser_messages import ReadJson, ReadNetcdf

LIMIT = 10_000_000


def classic(n_variables=1, attributes=None, name="v", rank=1):
    target = io.BytesIO()
    file = scipy.io.netcdf_file(target, "w")
    for dim in range(rank):
        file.createDimension(f"x{dim}", 1)
    for number in range(n_variables):
        file.createVariable(f"{name}{number}", "f4", tuple(f"x{dim}" for dim in range(rank)))
    for key, value in (attributes or {}).items():
        setattr(file, key, value)
    file.flush()
    return ReadNetcdf(target.getvalue())


def hdf5(n_variables=1, attributes=None, name="v", rank=1):
    target = io.BytesIO()
    with h5py.File(target, "w", track_order=True) as file:
        for number in range(n_variables):
            values = file.create_dataset(f"{name}{number}", data=np.zeros((1,) * rank, "f4"))
            if rank == 1:
                values.make_scale(f"{name}{number}")
        for key, value in (attributes or {}).items():
            file.attrs[key] = value
    return ReadNetcdf(target.getvalue())


def as_json(n_variables=1, name="v", units="K"):
    variables = {f"{name}{number}": {"units": units, "values": [[[1]]]} for number in range(n_variables)}
    axes = {"time": ["2020-01-01"], "latitude": [0], "longitude": [0]}
    return ReadJson(json.dumps(axes | {"variables": variables}).encode())


@pytest.mark.parametrize(
    ("upload", "says"),
    [
        (classic(201), "201 variables"),
        (hdf5(201), "201 variables"),
        (as_json(201), "201 variables"),
        (classic(name="n" * 300), "301 bytes in one name"),
        (hdf5(name="n" * 300), "301 bytes in one name"),
        (as_json(name="n" * 300), "301 bytes in one name"),
        (classic(attributes={f"a{i}": "x" for i in range(201)}), "201 attributes"),
        (hdf5(attributes={f"a{i}": "x" for i in range(201)}), "201 attributes"),
        (classic(attributes={"a": "x" * 70_000}), "70000 bytes in one attribute"),
        (
            hdf5(attributes={"a": np.bytes_("x" * 65_000), "units": "K" * 300}),
            "300 bytes in attribute 'units'",
        ),
        (as_json(units="K" * 300), "300 bytes in attribute 'units'"),
        (classic(attributes={f"a{i}": "x" * 60_000 for i in range(20)}), "bytes in all attributes"),
        (classic(rank=17), "17 dimensions"),
        (hdf5(rank=17), "dimension"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_too_many_is_refused_by_name(upload, says):
    with pytest.raises(Unprocessable, match=says) as raised:
        parse(upload, LIMIT)
    assert raised.value.status == 422
    assert len(raised.value.detail) < 500


@pytest.mark.parametrize("upload", [classic(190), hdf5(190), as_json(190)])
def test_a_large_honest_upload_is_read(upload):
    parse(upload, LIMIT)


def test_counts_of_a_classic_header_are_held_before_it_is_read():
    """A header that announces four thousand million variables, and ends."""
    body = b"CDF\x01" + struct.pack(">iiiiiiI", 0, 0, 0, 0, 0, 11, 2**32 - 1)
    with pytest.raises(Unprocessable, match="4294967295 variables"):
        parse(ReadNetcdf(body), LIMIT)


def test_a_classic_header_that_promises_more_than_the_file_holds():
    name = struct.pack(">i", 1) + b"a\0\0\0"
    header = b"CDF\x01" + struct.pack(">iii", 0, 10, 1) + name + struct.pack(">iii", 2**31 - 1, 0, 0)
    variable = name + struct.pack(">iiiiiii", 1, 0, 0, 0, 5, 4, 10)  # one dimension, no attributes, floats
    body = header + struct.pack(">ii", 11, 1) + variable
    with pytest.raises(Unprocessable, match="its content does not fit its header"):
        parse(ReadNetcdf(body), LIMIT)


def test_a_parser_that_does_not_return_is_killed_after_seconds(monkeypatch):
    from service.workers.parsers import Parsers

    monkeypatch.syspath_prepend(Path(__file__).parent)

    async def run():
        pool = Parsers(Settings(parsers=1, parse_seconds=3000), "hostile_parsers:spinning")
        await pool.start()
        try:
            await pool.parse(ReadNetcdf(b"x"))
        finally:
            await pool.stop()

    with pytest.raises(Unprocessable, match="killed after 2 s of processor time"):
        asyncio.run(run())
