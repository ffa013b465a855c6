"""NetCDF files that were made to do harm, read by the limited process."""

import asyncio
import io
import json
from contextlib import suppress
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import pytest

from service.problems import Problem, TooLarge, Unavailable, Unprocessable
from service.settings import Settings
from service.uploads.netcdf_upload import parse_netcdf
from service.wire.codec import RawVariable, decode, encode, sizes
from service.wire.parser_messages import ReadJson, ReadNetcdf
from service.workers.parsers import TARGET, Parsers

LIMIT = 1_000_000


def hdf5(fill):
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file["x"] = np.arange(3.0)
        fill(file)
    return target.getvalue()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["v"] = np.full(3, 42.0)
    (tmp_path / "secret.bin").write_bytes(np.full(3, 42.0).tobytes())
    return path


def virtual(file, path):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(path, "v", shape=(3,))
    file.create_virtual_dataset("v", layout)


def external_storage(file, path):
    file.create_dataset("v", (3,), "f8", external=[(str(path.with_suffix(".bin")), 0, 24)])


@pytest.mark.parametrize(
    "fill",
    [
        lambda file, path: file.__setitem__("v", h5py.ExternalLink(str(path), "v")),
        lambda file, path: file.__setitem__("v", h5py.SoftLink("/x")),
        virtual,
        external_storage,
    ],
    ids=["external link", "soft link", "virtual", "external storage"],
)
def test_what_lies_outside_the_file_is_refused(fill, secret):
    body = hdf5(lambda file: fill(file, secret))
    with pytest.raises(Unprocessable, match="'v'") as raised:
        parse_netcdf(body, LIMIT)
    assert raised.value.extra["kind"] == "outside-link"


def test_groups_are_not_entered():
    target = io.BytesIO()
    with h5netcdf.File(target, "w") as file:
        file.dimensions = {"x": 2}
        file.create_variable("v", ("x",), "f4")
    with h5py.File(target, "a") as file:
        file.create_group("inside")["loop"] = h5py.SoftLink("/")
    variables, _ = decode(parse_netcdf(target.getvalue(), LIMIT))
    assert list(variables) == ["v"]


def test_declared_terabytes_are_refused_by_the_numbers():
    body = hdf5(lambda file: file.create_dataset("v", (10**6, 10**6), "f8", chunks=(100, 100)))
    assert len(body) < 10_000
    with pytest.raises(TooLarge) as raised:
        parse_netcdf(body, LIMIT)
    assert raised.value.extra == {"declared_bytes": 8 * 10**12 + 24, "limit_bytes": LIMIT}


def test_compressed_zeros_count_as_what_they_become():
    values = np.zeros((1000, 1000))
    body = hdf5(lambda file: file.create_dataset("v", data=values, chunks=(1000, 1000), compression="gzip"))
    assert len(body) < 20_000
    with pytest.raises(TooLarge):
        parse_netcdf(body, LIMIT)


def test_classic_file_that_declares_terabytes():
    dimension = (10**9).to_bytes(4, "big")
    name = b"\x00\x00\x00\x01v\x00\x00\x00"
    header = b"CDF\x01" + bytes(4) + b"\x00\x00\x00\x0a\x00\x00\x00\x01" + name + dimension + bytes(8)
    variable = b"\x00\x00\x00\x0b\x00\x00\x00\x01" + name + b"\x00\x00\x00\x01" + bytes(4) + bytes(8)
    body = header + variable + b"\x00\x00\x00\x06" + b"\x7f\xff\xff\xf8" + b"\x00\x00\x00\x60"
    with pytest.raises(Problem) as raised:
        parse_netcdf(body, LIMIT)
    assert raised.value.status in (413, 422)


def test_unknown_filter_is_refused():
    body = hdf5(lambda file: file.create_dataset("v", data=np.zeros(100), compression="lzf"))
    with pytest.raises(Unprocessable, match="filter") as raised:
        parse_netcdf(body, LIMIT)
    assert "nccopy" in raised.value.detail


def test_too_many_variables():
    def fill(file):
        for number in range(300):
            file[f"v{number}"] = 0.0

    with pytest.raises(Unprocessable, match="301 variables"):
        parse_netcdf(hdf5(fill), LIMIT)


def test_text_numbers_and_fill_values_survive():
    target = io.BytesIO()
    with h5netcdf.File(target, "w") as file:
        file.dimensions = {"x": 2}
        file.attrs["title"] = "ünïcode"
        packed = file.create_variable("v", ("x",), "i2", fillvalue=np.int16(-9))
        packed[...] = np.array([1, -9], "i2")
        packed.attrs["scale_factor"] = np.float32(0.1)
        file.create_variable("name", ("x",), h5py.string_dtype())[...] = np.array(["a", "é"], object)
    variables, attrs = decode(parse_netcdf(target.getvalue(), LIMIT))
    assert attrs["title"] == "ünïcode"
    assert variables["v"].values.dtype == np.int16
    assert variables["v"].attrs["scale_factor"].dtype == np.float32
    assert variables["v"].attrs["_FillValue"] == -9
    assert variables["name"].values.tolist() == ["a", "é"]


def test_wire_round_trip():
    given = {
        "a": RawVariable(
            ("x", "y"), np.arange(6, dtype=">i2").reshape(2, 3).T.T, {"units": "K", "n": [1, 2]}
        ),
        "scalar": RawVariable((), np.array(2.5), {}),
    }
    found, attrs = decode(encode(given, {"title": "t"}))
    np.testing.assert_array_equal(found["a"].values, given["a"].values)
    assert found["a"].values.dtype == ">i2"
    assert found["a"].attrs["units"] == "K"
    assert found["scalar"].values == 2.5
    assert attrs == {"title": "t"}
    assert sizes(encode(given, {})) == {"x": 2, "y": 3}


def test_wire_holds_sizes_to_the_bytes_that_are_there():
    whole = encode({"a": RawVariable(("x",), np.arange(4.0), {})}, {})
    with pytest.raises(ValueError, match="buffer"):
        decode(whole[:-1])


# The process


def in_a_parser(work, target=TARGET, **settings):
    async def run():
        parsers = Parsers(Settings(**({"parsers": 1} | settings)), target)
        await parsers.start()
        try:
            return await work(parsers)
        finally:
            await parsers.stop()

    return asyncio.run(run())


@pytest.mark.slow
def test_memory_of_a_parse_is_limited():
    target = io.BytesIO()
    with h5netcdf.File(target, "w") as file:
        file.dimensions = {"x": 10**7}
        values = file.create_variable("v", ("x",), "f8", chunks=(10**5,), compression="gzip")
        values[...] = np.zeros(10**7)
    body = target.getvalue()

    async def work(parsers):
        return await parsers.parse(ReadNetcdf(body))

    with pytest.raises(TooLarge, match="20000000 bytes of memory") as raised:
        in_a_parser(work, parse_memory_bytes=20_000_000)
    assert raised.value.extra == {"limit_bytes": 20_000_000}


def test_a_parser_that_answers_at_length_is_not_listened_to(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)

    async def work(pool):
        return await pool.parse(ReadJson(b"{}"))

    with pytest.raises(Unavailable, match="cannot be read now"):
        in_a_parser(work, "hostile_parsers:flooding_words")


@pytest.mark.parametrize("act", ["hostile", "endless", "garbling", "crashing", "flooding_fields"])
def test_a_parser_taken_over_can_do_nothing_and_is_ended(monkeypatch, act):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    target = f"hostile_parsers:{act}"

    async def work(pool):
        return await pool.parse(ReadJson(b"{}"))

    if act == "hostile":
        done = in_a_parser(work, target)
        if done.startswith(b"no filter here"):
            pytest.skip("the kernel lets no system call filter be set")
        assert done == b""
    else:
        with pytest.raises(Unprocessable, match="was killed"):
            in_a_parser(work, target, parse_seconds=30)


def test_only_a_process_that_read_well_without_c_code_is_kept(service_server):
    """JSON, NetCDF 3 and common HDF5 leave it as it was; a refusal and other HDF5 are the last it sees."""
    ds = service_server.fields(3)
    odd = hdf5(lambda file: file.create_group("inside"))
    uploads = {
        "json": ReadJson(json.dumps(service_server.as_json(ds)).encode()),
        "netcdf3": ReadNetcdf(service_server.as_netcdf(ds, "scipy")),
        "hdf5": ReadNetcdf(service_server.as_netcdf(ds)),
        "odd hdf5": ReadNetcdf(odd),
        "refused": ReadJson(b"{}"),
    }

    async def work(parsers):
        pids = []
        for upload in ("json", "netcdf3", "hdf5", "hdf5", "json", "odd hdf5", "odd hdf5", "refused", "json"):
            pids.append(parsers._spares[0].pid)
            with suppress(Unprocessable):
                await parsers.parse(uploads[upload])
            await asyncio.gather(*parsers._refills)
        return pids

    pids = in_a_parser(work)
    assert len({*pids[:6]}) == 1
    assert len({*pids[5:]}) == 4


def test_a_process_is_kept_for_small_uploads_only(service_server):
    body = json.dumps(service_server.as_json(service_server.fields(3))).encode()

    async def work(parsers):
        pids = []
        for upload in (body, body + b" " * 2**20, body):
            pids.append(parsers._spares[0].pid)
            await parsers.parse(ReadJson(upload))
            await asyncio.gather(*parsers._refills)
        return pids

    first, second, third = in_a_parser(work)
    assert first == second != third
