"""Values that a library supplies in silence are named: absent and damaged chunks, truncated files."""

import shutil

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import ShardingCodec

from stconv.datasets.inspection.inspect import describe
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import open_series
from stconv.errors import FileError

N = 40


def made(values=None):
    rng = np.random.default_rng(0)
    values = rng.normal(280, 5, (N, 4, 6)) if values is None else values
    times = np.datetime64("2001-01-01", "ns") + np.arange(N) * np.timedelta64(6, "h")
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values.astype("f4"), {"units": "K"})},
        {
            "time": times,
            "lat": ("lat", np.arange(4.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(6.0), {"units": "degrees_east"}),
        },
    )


def write(path, version, ds=None, **encoding):
    chunks = {"t2m": {"chunks": (10, 4, 3), **encoding}, "time": {"chunks": (10,)}}
    (made() if ds is None else ds).to_zarr(path, zarr_format=version, consolidated=False, encoding=chunks)
    return path


def chunk_file(path, name, *at):
    array = zarr.open_group(path, mode="r")[name]
    return path / name / array.metadata.encode_chunk_key(at)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("lazy", [False, True])
def test_absent_chunks_are_missing_and_their_steps_are_named(tmp_path, version, lazy, monkeypatch):
    if lazy:
        monkeypatch.setattr("stconv.datasets.source.grid.MEMORY_BYTES", 0)
    ds, path = made(), write(tmp_path / "a.zarr", version)
    for at in ((1, 0, 0), (2, 0, 1)):
        chunk_file(path, "t2m", *at).unlink()
    told = r"2 of 8 chunks of 't2m' are not stored \(step 10 to 29 along 'time'\)\. Their values are missing"
    with pytest.warns(SourceWarning, match=told):
        found, _ = open_series(path)
    expected = ds.t2m.values.copy()
    expected[10:20, :, :3] = expected[20:30, :, 3:] = np.nan
    np.testing.assert_array_equal(found.t2m, expected)
    assert any("chunks of 't2m' are not stored" in sentence for sentence in describe(path)[0].advice)


@pytest.mark.parametrize("content", [None, b""], ids=["absent", "empty"])
def test_all_chunks_of_an_absent_shard_are_absent(tmp_path, content):
    path = write(tmp_path / "a.zarr", 3, shards=(20, 4, 6))
    file = chunk_file(path, "t2m", 1, 0, 0)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.warns(SourceWarning, match=r"4 of 8 chunks of 't2m' are not stored \(step 20 to 39"):
        found, _ = open_series(path)
    assert np.isnan(found.t2m[20:]).all()


@pytest.mark.parametrize("location", ["start", "end"])
def test_chunks_that_a_shard_lacks_are_named(tmp_path, location):
    ds = made().isel(time=slice(0, 35))  # the last shard reaches beyond the array
    path = write(tmp_path / "a.zarr", 3, ds)
    shutil.rmtree(path / "t2m")
    codec = ShardingCodec(chunk_shape=(10, 4, 3), index_location=location)
    array = zarr.open_group(path, mode="r+").create_array(
        "t2m", shape=ds.t2m.shape, dtype="f4", chunks=(20, 4, 6), fill_value=np.nan, serializer=codec,
        compressors=None, filters=None, dimension_names=ds.t2m.dims, attributes={"units": "K"},
    )  # fmt: skip
    array[...] = ds.t2m.values
    expected = ds.t2m.values.copy()
    array[10:20, :, 3:] = expected[10:20, :, 3:] = (
        np.nan
    )  # Zarr removes a chunk that holds only the fill value
    assert array.shards == (20, 4, 6)
    with pytest.warns(
        SourceWarning, match=r"1 of 8 chunks of 't2m' are not stored \(step 10 to 19 .*missing"
    ):
        found, _ = open_series(path)
    np.testing.assert_array_equal(found.t2m, expected)


@pytest.mark.parametrize("lost", [1, 20, 200])
def test_a_truncated_shard_is_refused(tmp_path, lost):
    path = write(tmp_path / "a.zarr", 3, shards=(20, 4, 6))
    file = chunk_file(path, "t2m", 1, 0, 0)
    file.write_bytes(file.read_bytes()[:-lost])
    with pytest.raises(FileError, match="values cannot be read: 't2m' at step 20 to 39 along 'time'"):
        open_series(path)


@pytest.mark.parametrize("version", [2, 3])
def test_dry_chunks_that_a_writer_left_out_stay_zero_with_a_word(tmp_path, version):
    rain = np.random.default_rng(0).gamma(1, 2, (N, 4, 6)).astype("f4")
    rain[rain < 2] = 0
    rain[10:20] = 0
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    ds = made(rain)
    for name in ("time", "lat", "lon", "t2m"):
        values = np.arange(N) * 6 if name == "time" else ds[name].values
        names = {"dimension_names": list(ds[name].dims)} if version == 3 else {}
        array = group.create_array(name, data=values, chunks=(10, 4, 6) if name == "t2m" else "auto", **names)
        array.attrs.update({"units": "hours since 2001-01-01"} if name == "time" else dict(ds[name].attrs))
        if version == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = list(ds[name].dims)
    with pytest.warns(SourceWarning, match=r"step 10 to 19 along 'time'\)\. They are read as 0\.0"):
        found, _ = open_series(path)
    np.testing.assert_array_equal(found.t2m, rain)


def test_an_axis_that_lacks_a_chunk_is_refused(tmp_path):
    path = write(tmp_path / "a.zarr", 2)
    chunk_file(path, "time", 2).unlink()
    with pytest.raises(FileError, match="the axis 'time' is not stored at step 20 to 29 along 'time'"):
        open_series(path)


def test_packed_values_without_a_fill_value_are_refused_where_they_are_absent(tmp_path):
    path = write(tmp_path / "a.zarr", 2, made(np.arange(960).reshape(N, 4, 6) - 480).astype("i2"))
    chunk_file(path, "t2m", 2, 0, 0).unlink()
    with pytest.raises(FileError, match=r"1 of 8 chunks of 't2m' are not stored \(step 20 to 29.* lost"):
        open_series(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_a_truncated_chunk_is_named_with_its_steps(tmp_path, version, kept):
    path = write(tmp_path / "a.zarr", version)
    file = chunk_file(path, "t2m", 2, 0, 0)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FileError, match="values cannot be read: 't2m' at step 20 to 29 along 'time'"):
        open_series(path)


@pytest.mark.parametrize("level", [280, 0])
def test_what_was_never_written_to_an_hdf5_file_is_missing(tmp_path, level):
    ds = made()
    ds["t2m"] = ds.t2m - 280 + level
    ds.to_netcdf(tmp_path / "a.nc", engine="netcdf4", encoding={"t2m": {"chunksizes": (10, 4, 6)}})
    with h5py.File(tmp_path / "a.nc", "r+") as file:
        values, attrs = file["t2m"][...], dict(file["t2m"].attrs)
        scales = [file[dim] for dim in ("time", "lat", "lon")]
        del file["t2m"]
        field = file.create_dataset("t2m", (N, 4, 6), "f4", chunks=(10, 4, 6))  # fill value 0
        field.attrs["units"] = attrs["units"]
        for axis, scale in enumerate(scales):
            field.dims[axis].attach_scale(scale)
        field[:20], field[30:] = values[:20], values[30:]
    what = "Their values are missing, not 0" if level else "They are read as 0"
    with pytest.warns(SourceWarning, match=rf"1 of 4 chunks of 't2m' are not stored \(step 20 to 29.*{what}"):
        found, _ = open_series(tmp_path / "a.nc")
    assert np.isnan(found.t2m[20:30]).all() == bool(level)
    np.testing.assert_array_equal(found.t2m[30:], values[30:])


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
@pytest.mark.parametrize("lost", [1, 200, 2000])
def test_truncated_files_are_refused(tmp_path, kind, lost):
    made().to_netcdf(tmp_path / "a.nc", format=kind, engine="netcdf4")
    content = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(content[:-lost])
    with pytest.raises(FileError, match="truncated"):
        open_series(tmp_path / "a.nc")


def rename_units(path):
    zarr.open_group(path, mode="r+", use_consolidated=False)["t2m"].attrs["units"] = "degC"


def remove_metadata(path):
    for name in (".zarray", "zarr.json"):
        (path / "t2m" / name).unlink(missing_ok=True)


def remove_array(path):
    shutil.rmtree(path / "t2m")


def add_array(path):
    version = 3 if (path / "zarr.json").is_file() else 2
    made().t2m.rename("u").to_zarr(path / "u.zarr", zarr_format=version)
    (path / "u.zarr" / "u").rename(path / "u")
    shutil.rmtree(path / "u.zarr")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename_units, 'it gives \'t2m\' the attribute units "K", the array has "degC"'),
        (remove_metadata, "metadata lists t2m, and the store lacks this array or the metadata of it"),
        (remove_array, "metadata lists t2m, and the store lacks this array"),
        (add_array, "the consolidated metadata is older than the arrays: it lacks 'u'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.filterwarnings("ignore:Object at t2m is not recognized", "ignore:Consolidated metadata is")
def test_consolidated_metadata_of_another_state_is_told(tmp_path, version, change, told):
    path = tmp_path / "a.zarr"
    made().assign(w=made().t2m).to_zarr(path, zarr_format=version, consolidated=True)
    change(path)
    with pytest.warns(SourceWarning, match=told):
        open_series(path)


def test_a_whole_store_says_nothing(tmp_path, recwarn):
    for version in (2, 3):
        write(tmp_path / f"{version}.zarr", version)
        open_series(tmp_path / f"{version}.zarr")
        made().to_zarr(tmp_path / f"{version}-copy.zarr", zarr_format=version, consolidated=True)
        open_series(tmp_path / f"{version}-copy.zarr")
    assert not [w for w in recwarn if w.category is SourceWarning]


def test_a_single_array_is_no_series(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((4, 2, 3)))
    with pytest.raises(FileError, match="is a single Zarr array; expected a group of arrays"):
        open_series(tmp_path / "a.zarr")
