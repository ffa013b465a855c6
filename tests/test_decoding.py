"""Stored values to physical ones: declared missing values, in every type and format, against NumPy."""

import warnings
from contextlib import nullcontext

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from stconv.datasets.source.attributes import SourceWarning, numbers
from stconv.datasets.source.decoding import decode
from stconv.datasets.source.grid import GridSpec, canonicalize, open_series
from stconv.errors import VariableError

SHAPE = (6, 3, 4)
AXES = {
    "time": (np.arange(6) * 6.0, {"units": "hours since 2001-01-01"}),
    "lat": (np.array([10.0, 20.0, 30.0]), {"units": "degrees_north"}),
    "lon": (np.array([0.0, 10.0, 20.0, 30.0]), {"units": "degrees_east"}),
}


def write(path, stored, attrs):
    """Write stored values and attributes as they are: NetCDF 3 or 4, Zarr 2 or 3, by the name's ending."""
    if path.suffix == ".nc":
        classic = path.stem.endswith("3")
        with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_DATA" if classic else "NETCDF4") as file:
            for dim, (values, own) in AXES.items():
                file.createDimension(dim, len(values))
                axis = file.createVariable(dim, "f8", (dim,))
                axis.setncatts(own)
                axis[:] = values
            attrs = dict(attrs)
            fill = attrs.pop("_FillValue", None)
            field = file.createVariable("v", stored.dtype, tuple(AXES), fill_value=fill)
            field.set_auto_maskandscale(False)
            field.setncatts(attrs | {"units": "K"})
            field[:] = stored
        return path
    group = zarr.open_group(path, mode="w", zarr_format=int(path.stem[-1]))
    dims = {name: [name] for name in AXES} | {"v": list(AXES)}
    contents = {**AXES, "v": (stored, {"units": "K", **attrs})}
    for name, (values, own) in contents.items():
        names = {"dimension_names": dims[name]} if path.stem.endswith("3") else {}
        array = group.create_array(name, data=values, **names)
        plain = {k: np.asarray(v).tolist() if not isinstance(v, str) else v for k, v in own.items()}
        array.attrs.update(plain if names else plain | {"_ARRAY_DIMENSIONS": dims[name]})
    return path


FORMATS = ["netcdf3.nc", "netcdf4.nc", "zarr2.zarr", "zarr3.zarr"]


def stored_of(dtype):
    rng = np.random.default_rng(0)
    return rng.integers(1, 100, SHAPE).astype(dtype)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("key", ["missing_value", "_FillValue"])
def test_declared_missing_in_every_type(tmp_path, name, packed, dtype, key):
    stored = stored_of(dtype)
    fill = stored.dtype.type(-88.8) if dtype.startswith("f") else stored.dtype.type(111)
    stored[1, 2, 3] = stored[4, 0, 0] = fill
    attrs = {key: fill} | ({"scale_factor": 0.5, "add_offset": 10.0} if packed else {})
    ds, _ = open_series(write(tmp_path / name, stored, attrs))
    expected = stored.astype("f8") * (0.5 if packed else 1) + (10 if packed else 0)
    expected[1, 2, 3] = expected[4, 0, 0] = np.nan
    np.testing.assert_array_equal(ds.v, expected.astype("f4"))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("dtype", "stated", "there"),
    [
        ("f4", np.float64(-888.8), np.float32(-888.8)),
        ("f8", np.float32(-888.8), np.float64(-888.8)),
        ("f8", np.float64(-888.8), np.float64(np.float32(-888.8))),
        ("f4", "-888.8", np.float32(-888.8)),
        ("i2", np.float64(-999.0), -999),
        ("u1", np.int16(-2), 254),
        ("f4", [-1.5, -2.5], -2.5),
    ],
)
def test_a_missing_value_of_another_type_is_compared_in_the_stored_one(tmp_path, name, dtype, stated, there):
    stored = stored_of(dtype)
    stored[2, 1, 1] = there
    ds, _ = open_series(write(tmp_path / name, stored, {"missing_value": stated}))
    expected = stored.astype("f4")
    expected[2, 1, 1] = np.nan
    np.testing.assert_array_equal(ds.v, expected)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("attrs", "low", "high"),
    [
        ({"valid_min": np.int16(20)}, 20, 99),
        ({"valid_max": np.int16(80)}, 1, 80),
        ({"valid_range": np.array([20, 80], "i2")}, 20, 80),
        ({"valid_min": np.float64(0.2)}, 20, 99),
        ({"valid_max": np.float64(0.8)}, 1, 80),
        ({"valid_range": np.array([0.2, 0.8])}, 20, 80),
        ({"valid_range": "20, 80"}, 20, 80),
    ],
)
@pytest.mark.parametrize("scale", [0.01, -0.01])
def test_limits_of_packed_values_one_sided_too(tmp_path, name, attrs, low, high, scale):
    if any(np.asarray(v).dtype.kind == "f" for v in attrs.values()) and scale < 0:
        attrs = {k: np.float64(1) - v for k, v in attrs.items()}  # physical: 1 - 0.01 stored
        swapped = {"valid_min": "valid_max", "valid_max": "valid_min", "valid_range": "valid_range"}
        attrs = {swapped[k]: np.sort(np.atleast_1d(v)) for k, v in attrs.items()}
    stored = stored_of("i2")
    offset = 1.0 if scale < 0 else 0.0
    path = write(tmp_path / name, stored, attrs | {"scale_factor": scale, "add_offset": offset})
    told = name == "zarr2.zarr"  # the library writes a fill value of 0 there
    with pytest.warns(SourceWarning, match="the fill value 0 of the packed 'v'") if told else nullcontext():
        ds, origin = open_series(path)
    valid = (stored >= low) & (stored <= high)
    np.testing.assert_array_equal(np.isfinite(ds.v), valid)
    np.testing.assert_array_equal(ds.v.values[valid], (stored[valid] * scale + offset).astype("f4"))
    assert not {"valid_min", "valid_max", "valid_range"} & set(origin.fields["v"].attrs)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_limit_is_rounded_as_the_values_are(tmp_path, dtype):
    stored = np.full(SHAPE, 0.1, dtype)
    stored[0] = 0.3
    for limit in (np.float64(0.1), np.float32(0.1)):
        ds, _ = open_series(write(tmp_path / "a4.nc", stored, {"valid_min": limit, "valid_max": 0.3}))
        assert np.isfinite(ds.v).all()


def test_limits_and_fills_of_unsigned_values_are_unsigned(tmp_path):
    stored = stored_of("i1")
    stored[0, 0] = [-1, -6, -56, 7]  # 255, 250, 200, 7
    attrs = {"_Unsigned": "true", "valid_range": np.array([0, -6], "i1"), "missing_value": np.int8(-56)}
    ds, _ = open_series(write(tmp_path / "a4.nc", stored, attrs))
    np.testing.assert_array_equal(ds.v[0, 0], [np.nan, 250, np.nan, 7])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("attrs", [{}, {"missing_value": 5}, {"scale_factor": 2.0}])
def test_frames_never_written_are_missing_in_every_type(tmp_path, dtype, attrs):
    stored = np.full(SHAPE, 7, dtype)
    stored[2:4] = netCDF4.default_fillvals[dtype]
    own = {k: np.dtype(dtype).type(v) if k == "missing_value" else v for k, v in attrs.items()}
    ds, _ = open_series(write(tmp_path / "a4.nc", stored, own))
    assert np.isnan(ds.v[2:4]).all()
    np.testing.assert_array_equal(np.delete(ds.v, [2, 3], 0), 14 if "scale_factor" in attrs else 7)


def test_a_byte_that_equals_the_default_fill_is_a_value(tmp_path):
    stored = stored_of("u1")
    stored[0, 0, 0] = 255
    ds, _ = open_series(write(tmp_path / "a4.nc", stored, {}))
    assert float(ds.v[0, 0, 0]) == 255


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_the_fill_value_of_a_zarr_array_is_a_value_unless_an_attribute_says_else(tmp_path, version, packed):
    stored = np.where(np.arange(72).reshape(SHAPE) % 3, 4, 0).astype("i2")
    attrs = {"scale_factor": 0.5} if packed else {}
    path = write(tmp_path / f"a{version}.zarr", stored, attrs)
    group = zarr.open_group(path, mode="a")
    group["time"].attrs["units"] = "hours since 2001-01-02"
    assert group["v"].fill_value == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds, _ = open_series(path)
    np.testing.assert_array_equal(ds.v, stored * (0.5 if packed else 1))
    told = [str(w.message) for w in caught if w.category is SourceWarning]
    assert len(told) == (packed and version == 2)
    assert all("the fill value 0 of the packed 'v' is read as a value" in text for text in told)
    group["v"].attrs["_FillValue"] = 0
    ds, _ = open_series(path)
    np.testing.assert_array_equal(np.isnan(ds.v), stored == 0)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("encoding", [{"dtype": "i2", "_FillValue": -32000, "scale_factor": 0.01}, {}])
def test_what_xarray_wrote_as_missing_is_missing(tmp_path, version, encoding):
    values = np.random.default_rng(0).normal(280, 5, SHAPE).round(2)
    values[3] = np.nan
    ds = xr.Dataset(
        {"v": (tuple(AXES), values, {"units": "K"})}, {k: (k, v, a) for k, (v, a) in AXES.items()}
    )
    ds.to_zarr(tmp_path / "a.zarr", zarr_format=version, encoding={"v": encoding}, consolidated=False)
    found, _ = open_series(tmp_path / "a.zarr")
    np.testing.assert_allclose(found.v, values, rtol=1e-6)


def test_a_fill_value_of_version_3_in_plain_numbers(tmp_path):
    stored = stored_of("f4")
    stored[0, 0, 0] = -999
    for stated in (-999.0, "-999.0"):
        ds, _ = open_series(write(tmp_path / "a3.zarr", stored, {"_FillValue": stated}))
        assert np.isnan(ds.v[0, 0, 0])


def test_numbers_as_text_count_and_other_text_is_named(tmp_path):
    stored = stored_of("i2")
    text = {"scale_factor": "0.01", "add_offset": "290"}
    ds, _ = open_series(write(tmp_path / "a4.nc", stored, text))
    np.testing.assert_allclose(ds.v, stored * 0.01 + 290, rtol=1e-7)
    with pytest.raises(VariableError, match="scale_factor of variable 'v' is 'one'; expected a number"):
        open_series(write(tmp_path / "b4.nc", stored, {"scale_factor": "one"}))
    with pytest.raises(VariableError, match=r"scale_factor of variable 'v' is 0\.0; expected one number"):
        open_series(write(tmp_path / "b4.nc", stored, {"scale_factor": 0.0}))
    with pytest.raises(VariableError, match=r"`ncatted -a 'scale_factor,air temp,o,d,NUMBER' FILE`"):
        numbers({"scale_factor": "one"}, "scale_factor", "air temp", "a.nc", strict=True)
    with pytest.warns(SourceWarning, match="missing_value of variable 'v' is 'none'; expected a number"):
        ds, _ = open_series(write(tmp_path / "c4.nc", stored, {"missing_value": "none"}))
    np.testing.assert_array_equal(ds.v, stored)
    with pytest.warns(SourceWarning, match="the valid range of 'v', 5 to 1, is empty"):
        open_series(write(tmp_path / "d4.nc", stored, {"valid_min": np.int16(5), "valid_max": np.int16(1)}))


def test_the_range_that_the_user_states_counts_instead_of_that_of_the_file(tmp_path):
    stored = stored_of("f4")
    path = write(tmp_path / "a4.nc", stored, {"valid_max": np.float32(50)})
    ds, _ = open_series(path, GridSpec(valid_range={"v": [0, 90]}))
    np.testing.assert_array_equal(np.isfinite(ds.v), stored <= 90)


def test_on_disk_in_memory_and_with_dask_it_is_one_step(tmp_path):
    stored = stored_of("i2")
    stored[2, 1] = 50
    path = write(tmp_path / "a4.nc", stored, {"missing_value": np.int16(50), "scale_factor": 0.1})
    with xr.open_dataset(path, decode_cf=False) as raw:
        lazy = decode(raw)
        assert not isinstance(lazy.v.variable._data, np.ndarray)
        np.testing.assert_array_equal(lazy.v[2:3, [0, 1], 1].values, decode(raw.load()).v[2:3, [0, 1], 1])
        dask = decode(raw.chunk(time=2))
        assert dask.v.chunks is not None
        np.testing.assert_array_equal(dask.v.compute(), lazy.v)


def test_what_another_library_decoded_and_let_through_is_missing(tmp_path):
    stored = stored_of("f4")
    stored[1, 1, 1] = -888.8
    path = write(tmp_path / "a4.nc", stored, {"missing_value": np.float64(-888.8)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = xr.open_dataset(path)
    ds, _ = canonicalize(decoded)
    assert np.isnan(ds.v[1, 1, 1])
    assert int(np.isnan(ds.v).sum()) == 1


def test_times_that_are_declared_missing_do_not_decode_to_a_date(tmp_path):
    raw = xr.Dataset(
        {"a": ("t", np.array([0, 6, -1]), {"units": "hours since 2001-01-01", "_FillValue": -1})}
    )
    np.testing.assert_array_equal(np.isnat(decode(raw).a), [False, False, True])


def test_metadata_older_than_the_arrays_is_not_what_is_read(tmp_path):
    values = np.arange(72.0).reshape(SHAPE)
    ds = xr.Dataset(
        {"v": (tuple(AXES), values, {"units": "K"})}, {k: (k, v, a) for k, (v, a) in AXES.items()}
    )
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        ds.isel(time=slice(4)).to_zarr(
            path, zarr_format=version, consolidated=True, encoding={"v": {"chunks": (2, 3, 4)}}
        )
        root = path / (".zmetadata" if version == 2 else "zarr.json")
        older = root.read_text()
        ds.isel(time=slice(4, None)).to_zarr(path, append_dim="time", zarr_format=version, consolidated=False)
        root.write_text(older)
        told = r"gives '\w+' the shape \(4,.*the array has \(6,.*consolidate_metadata"
        with pytest.warns(SourceWarning, match=told):
            found, _ = open_series(path)
        np.testing.assert_array_equal(found.v, values)


@pytest.mark.parametrize("key", ["fill_value", "FillValue", "CodeMissingValue", "missing_values", "NoData"])
def test_other_spellings_of_the_fill_value_declare_it(key):
    values = np.array([[1, -888.8], [2, 0]], "f4")
    raw = xr.Dataset({"v": (("y", "x"), values, {key: -888.8, "units": "K"})})
    np.testing.assert_array_equal(decode(raw).v, np.array([[1, np.nan], [2, 0]], "f4"))
    raw.v.attrs[key] = 0  # a default of libraries
    np.testing.assert_array_equal(decode(raw).v, values)
    raw.v.attrs[key] = "-888.8"
    assert np.isnan(decode(raw).v[0, 1])
