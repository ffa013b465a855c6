"""NetCDF 4 read in Python alone says what the HDF5 library says, or leaves the file to it."""

import io
import random
import resource
from contextlib import suppress
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from service.uploads.netcdf_upload import is_hdf5, parse_netcdf
from service.uploads.plain_hdf5 import parse_plain_hdf5
from service.wire.codec import decode

LIMIT = 1_000_000


def assert_same(found, expected):
    (variables, attrs), (others, other_attrs) = decode(found), decode(expected)
    assert variables.keys() == others.keys()
    for name, variable in variables.items():
        assert variable.dims == others[name].dims
        assert variable.values.dtype == others[name].values.dtype
        np.testing.assert_array_equal(variable.values, others[name].values)
        assert_same_attributes(variable.attrs, others[name].attrs)
    assert_same_attributes(attrs, other_attrs)


def assert_same_attributes(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert type(value) is type(expected[name])
        assert np.asarray(value).dtype == np.asarray(expected[name]).dtype
        np.testing.assert_array_equal(value, expected[name])


def fields():
    values = np.random.default_rng(0).normal(280, 3, (4, 6, 5)).astype("f4")
    values[0, 1, 2] = np.nan
    return xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), values, {"units": "K", "long_name": "température", "n": [1, 2]}),
            "mask": (("lat", "lon"), np.eye(6, 5, dtype="i1"), {"flag_meanings": "sea land"}),
            "crs": ((), np.int32(0), {"earth_radius": 6371229.0}),
            "station": ("lon", np.array(["a", "é", "", "long", "x"], object)),
        },
        {
            "time": np.datetime64("2020-01-01", "ns") + np.arange(4) * np.timedelta64(6, "h"),
            "lat": ("lat", np.linspace(10.0, 20.0, 6), {"units": "degrees_north"}),
            "lon": ("lon", np.linspace(0.0, 8.0, 5), {"units": "degrees_east"}),
        },
        {"title": "ünïcode", "names": ["a", "bc"], "empty": ""},
    )


def by_netcdf_c(fill, **options):
    file = netCDF4.Dataset("made", "w", memory=1, **options)
    fill(file)
    return bytes(file.close())


def unwritten(file):
    """A dimension without a variable, an unlimited one, packed values, and a variable never written."""
    file.createDimension("n", 3)
    file.createDimension("time", None)
    packed = file.createVariable("packed", "i2", ("time", "n"), zlib=True, fill_value=-9)
    packed.scale_factor = np.float32(0.1)
    packed[0:2] = 1.5
    file.createVariable("grid_mapping", "i4", ())
    file.createVariable("never", "f4", ("n",))
    file.createVariable("big", ">f8", ("n",), endian="big")[:] = np.arange(3.0)


def multidimensional_coordinate(file):
    file.createDimension("n", 3)
    file.createDimension("m", 2)
    file.createVariable("m", "f4", ("n", "m"))[:] = np.arange(6.0).reshape(3, 2)


def many_attributes(file):
    """So many that they lie in a heap of their own."""
    file.createDimension("n", 3)
    variable = file.createVariable("v", "f4", ("n",))
    variable[:] = 1
    for number in range(40):
        variable.setncattr(f"attribute_{number}", "x" * number)


COMPRESSED = {"zlib": True, "shuffle": True, "fletcher32": True, "chunksizes": (2, 3, 5)}
UPLOADS = {
    "netCDF-C": lambda: bytes(fields().to_netcdf(engine="netcdf4")),
    "h5netcdf": lambda: bytes(fields().to_netcdf(engine="h5netcdf")),
    "compressed": lambda: bytes(fields().to_netcdf(engine="netcdf4", encoding={"t2m": COMPRESSED})),
    "chunks cut off": lambda: bytes(
        fields().to_netcdf(engine="netcdf4", encoding={"t2m": {"chunksizes": (3, 4, 4)}})
    ),
    "packed": lambda: bytes(
        fields().to_netcdf(
            encoding={"t2m": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -1}}
        )
    ),
    "unlimited": lambda: bytes(fields().to_netcdf(engine="h5netcdf", unlimited_dims=["time"])),
    "unwritten": lambda: by_netcdf_c(unwritten),
    "classic model": lambda: by_netcdf_c(unwritten, format="NETCDF4_CLASSIC"),
    "coordinate of two dimensions": lambda: by_netcdf_c(multidimensional_coordinate),
    "many attributes": lambda: by_netcdf_c(many_attributes),
}


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
def test_it_says_what_the_library_says(upload):
    body = upload()
    found = parse_plain_hdf5(body, LIMIT)
    assert found is not None
    assert_same(found, parse_netcdf(body, LIMIT))


def test_real_files(shared_data):
    """As models, archives and tools wrote them."""
    paths = [p for p in sorted((shared_data / "formats").rglob("*.nc")) if p.stat().st_size < 4 * LIMIT]
    bodies = [body for path in paths if is_hdf5(body := path.read_bytes())]
    assert len(bodies) > 5
    for body in bodies:
        found = parse_plain_hdf5(body, 1000 * LIMIT)
        assert found is not None
        assert_same(found, parse_netcdf(body, 1000 * LIMIT))


def hdf5(fill, named=True, **options):
    """A file of a coordinate `x` and what `fill` makes, `v` with dimensions unless it is not `named`."""
    target = io.BytesIO()
    with h5py.File(target, "w", **options) as file:
        file["x"] = np.arange(3.0)
        file["x"].make_scale("x")
        fill(file)
        with suppress(KeyError, AttributeError, RuntimeError):  # a group, a link to nothing or to x
            for dim in file["v"].dims if named else []:
                dim.attach_scale(file["x"])
    return target.getvalue()


def virtual(file):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource("other.h5", "v", shape=(3,))
    file.create_virtual_dataset("v", layout)


def loop(file):
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")


UNCOMMON = {
    "external link": lambda file: file.__setitem__("v", h5py.ExternalLink("other.h5", "v")),
    "soft link": lambda file: file.__setitem__("v", h5py.SoftLink("/x")),
    "hard link": lambda file: file.__setitem__("v", file["x"]),
    "links in a circle": loop,
    "virtual": virtual,
    "external storage": lambda file: file.create_dataset("v", (3,), "f8", external=[("other.bin", 0, 24)]),
    "terabytes": lambda file: file.create_dataset("v", (10**6, 10**6), "f8", chunks=(100, 100)),
    "compressed zeros": lambda file: file.create_dataset(
        "v", data=np.zeros(10**6), chunks=(10**6,), compression="gzip"
    ),
    "other filter": lambda file: file.create_dataset("v", data=np.zeros(100), compression="lzf"),
    "many variables": lambda file: [file.__setitem__(f"v{number}", 0.0) for number in range(300)],
    "logical": lambda file: file.__setitem__("v", True),
    "complex": lambda file: file.__setitem__("v", 1j),
    "group": lambda file: file.create_group("v"),
    "text with a zero": lambda file: file.attrs.__setitem__("v", np.bytes_(b"a\0b")),
}


@pytest.mark.parametrize("fill", UNCOMMON.values(), ids=UNCOMMON)
def test_what_is_not_common_is_left_to_the_library(fill):
    assert parse_plain_hdf5(hdf5(lambda file: None), LIMIT) is not None
    assert parse_plain_hdf5(hdf5(fill), LIMIT) is None


def test_dimensions_without_names_are_left_to_the_library():
    def fill(file):
        file["v"] = np.zeros(3)

    assert parse_plain_hdf5(hdf5(fill), LIMIT) is not None
    assert parse_plain_hdf5(hdf5(fill, named=False), LIMIT) is None


def test_newest_file_format_is_left_to_the_library():
    body = hdf5(lambda file: file.create_dataset("v", data=np.zeros(100), chunks=(7,)), libver="latest")
    assert parse_plain_hdf5(body, LIMIT) is None


def test_values_that_do_not_fit_their_checksum_are_left_to_the_library():
    body = bytes(fields()[["t2m"]].to_netcdf(encoding={"t2m": {"fletcher32": True, "chunksizes": (4, 6, 5)}}))
    values = fields()["t2m"].values.tobytes()
    at = body.index(values)
    damaged = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    assert parse_plain_hdf5(body, LIMIT) is not None
    assert parse_plain_hdf5(damaged, LIMIT) is None


@pytest.fixture
def little_memory():
    """As in a parser, where a header that declares much gets no more than this."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + 2**28, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_file_changed_anywhere_is_read_or_left(little_memory):
    """Whatever the bytes, nothing is raised and nothing hangs."""
    whole = UPLOADS["compressed"]()
    draw = random.Random(0)
    left = 0
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(draw.choice([1, 2, 8])):
            body[draw.randrange(draw.choice([600, len(body)]))] = draw.randrange(256)
        left += parse_plain_hdf5(bytes(body), LIMIT) is None
    assert 10 < left < 140


def test_a_file_cut_off_anywhere_is_left_to_the_library():
    whole = UPLOADS["compressed"]()
    end = int.from_bytes(whole[28:36], "little")  # the end-of-file address; netCDF-C fills up what follows
    assert all(parse_plain_hdf5(whole[:length], LIMIT) is None for length in range(0, end, 97))
    assert parse_plain_hdf5(whole[:end], LIMIT) is not None
