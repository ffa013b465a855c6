"""Checksums of an HDF5 file: damage that the HDF5 library finds is not passed over by the fast parser."""

import io

import h5py
import numpy as np
import pytest

from service.uploads.checksums import lookup3
from service.uploads.netcdf_upload import parse_netcdf
from service.uploads.plain_hdf5 import parse_plain_hdf5
from service.wire.codec import decode

LIMIT = 10**7
BLOCKS = [b"\x89HDF", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTIN", b"BTLF"]


def with_h5py(**options):
    target = io.BytesIO()
    with h5py.File(target, "w", **options) as file:
        values = file.create_dataset("t", data=np.arange(100, dtype="f4"), chunks=(10,), fletcher32=True)
        values.make_scale("t")
        values.attrs["units"] = "K"
    return target.getvalue()


def with_netcdf(service_server, n_attributes):
    ds = service_server.fields(3)
    for number in range(n_attributes):
        ds.t2m.attrs[f"attribute {number}"] = "x" * 50
    return bytes(ds.to_netcdf(engine="netcdf4"))


@pytest.fixture(scope="module")
def files(service_server):
    return {
        "first form": with_h5py(),
        "tracked order": with_h5py(track_order=True),
        "version 1.8": with_h5py(libver=("v108", "v108")),
        "netCDF-C": with_netcdf(service_server, 1),
        "netCDF-C, many attributes": with_netcdf(service_server, 60),
    }


@pytest.mark.parametrize(
    ("text", "initial", "checksum"),
    [
        (b"", 0, 0xDEADBEEF),
        (b"Four score and seven years ago", 0, 0x17770551),
        (b"Four score and seven years ago", 1, 0xCD628161),
    ],
)
def test_the_checksum_is_that_of_its_author(text, initial, checksum):
    """Values of driver5 in lookup3.c, by Bob Jenkins (2006)."""
    assert lookup3(text, initial) == checksum


def test_whole_files_are_read_as_by_the_hdf5_library(files):
    for name, body in files.items():
        (fast, attrs), (ours, theirs) = (decode(p(body, LIMIT)) for p in (parse_plain_hdf5, parse_netcdf))
        assert attrs == theirs
        assert fast.keys() == ours.keys()
        for variable in fast:
            assert fast[variable].dims == ours[variable].dims
            assert fast[variable].attrs.keys() == ours[variable].attrs.keys()
            np.testing.assert_array_equal(fast[variable].values, ours[variable].values, name)


@pytest.mark.parametrize("kind", ["tracked order", "version 1.8", "netCDF-C", "netCDF-C, many attributes"])
def test_a_changed_bit_in_any_block_is_not_passed_over(files, kind):
    """One bit of each block of metadata that has a checksum; the superblock has one from version 2."""
    body = files[kind]
    tried = set()
    for signature in BLOCKS if body[8] >= 2 else BLOCKS[1:]:
        at = body.find(signature)
        while at >= 0:
            changed = bytearray(body)
            changed[at + 11] ^= 4
            assert parse_plain_hdf5(bytes(changed), LIMIT) is None, (signature, at)
            tried.add(signature)
            at = body.find(signature, at + 4)
    assert b"OHDR" in tried
    if kind.endswith("attributes"):
        assert {b"FRHP", b"FHIB", b"FHDB", b"BTHD", b"BTIN", b"BTLF"} <= tried


def test_a_changed_bit_in_a_chunk_with_a_checksum_is_not_passed_over(files):
    for name in ("first form", "tracked order", "version 1.8"):
        changed = bytearray(files[name])
        changed[changed.find(np.arange(10, 20, dtype="f4").tobytes()) + 3] ^= 4
        assert parse_plain_hdf5(bytes(changed), LIMIT) is None, name


def test_a_newer_index_of_chunks_is_left_to_the_hdf5_library():
    assert parse_plain_hdf5(with_h5py(libver=("v110", "v110")), LIMIT) is None
