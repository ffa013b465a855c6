"""Values that a library supplies in silence are named: absent and damaged chunks, truncated files."""

import shutil

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

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


def test_absent_shards_count_as_chunks(tmp_path):
    path = write(tmp_path / "a.zarr", 3, shards=(20, 4, 6))
    chunk_file(path, "t2m", 1, 0, 0).unlink()
    with pytest.warns(SourceWarning, match=r"1 of 2 chunks of 't2m' are not stored \(step 20 to 39"):
        found, _ = open_series(path)
    assert np.isnan(found.t2m[20:]).all()


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


def test_a_whole_store_says_nothing(tmp_path, recwarn):
    for version in (2, 3):
        write(tmp_path / f"{version}.zarr", version)
        open_series(tmp_path / f"{version}.zarr")
        shutil.rmtree(tmp_path / f"{version}.zarr")
    assert not [w for w in recwarn if w.category is SourceWarning]
