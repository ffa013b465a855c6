"""Reasons that are given for variables and files that are left out or cannot be read."""

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from stconv.cli.main import main
from stconv.datasets.inspection.inspect import describe
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.errors import FileError, TimeAxisError, UnitsError


def made(n=6):
    values = np.arange(n, dtype="f4")[:, None, None] + np.arange(8.0, dtype="f4").reshape(2, 4)
    times = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    coords = {
        "time": times,
        "lat": ("lat", [1.0, 2.0], {"units": "degrees_north"}),
        "lon": ("lon", [1.0, 2.0, 3.0, 4.0], {"units": "degrees_east"}),
    }
    return xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, coords)


def test_variables_left_out_are_told_with_the_reason(tmp_path, capsys):
    ds = made()
    east = {"units": "degrees_east"}
    later = np.datetime64("2001-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    ds = ds.assign_coords(lon_u=("lon_u", ds.lon.values + 0.5, east), day=("day", later)).assign(
        u10=(("time", "lat", "lon_u"), ds.t2m.values, {"units": "m s-1"}),
        tmax=(("day", "lat", "lon"), ds.t2m.values[:3], {"units": "K"}),
        orog=(("lat", "lon"), ds.t2m.values[0], {"units": "m"}),
        mean=("time", ds.t2m.values.mean((1, 2))),
        crs=((), 0),
        lon_bnds=(("lon", "two"), np.zeros((4, 2))),
    )
    ds.lon.attrs["bounds"] = "lon_bnds"
    ds.to_netcdf(tmp_path / "a.nc")
    description, _ = describe(tmp_path / "a.nc")
    assert set(description.left_out) == {"u10", "tmax", "orog", "mean"}
    assert "is on another grid (lat, lon_u) than (lat, lon)" in description.left_out["u10"]
    assert "is on another time axis ('day', 3 steps) than 'time' (6 steps)" in description.left_out["tmax"]
    assert "It is static" in description.left_out["orog"]
    assert "is not on the grid (lat, lon)" in description.left_out["mean"]
    assert main(["inspect", str(tmp_path / "a.nc")]) == 0
    assert "left out: 'u10' is on another grid (lat, lon_u)" in capsys.readouterr().out
    np.testing.assert_array_equal(open_series(tmp_path / "a.nc", variables=["u10"])[0].u10, ds.t2m)
    days, _ = open_series(tmp_path / "a.nc", GridSpec(time="day"), variables=["tmax"])
    assert days.sizes["time"] == 3


def grouped(path, with_fields_outside=False):
    """Coordinates in the root, fields in groups of it."""
    ds = made()
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in ds.sizes.items():
            file.createDimension(dim, size)
        time = file.createVariable("time", "f8", ("time",))
        time.units, time[:] = "hours since 2001-01-01", 6 * np.arange(6)
        for dim in ("lat", "lon"):
            axis = file.createVariable(dim, "f8", (dim,))
            axis.units, axis[:] = ds[dim].attrs["units"], ds[dim].values
        places = ["model", "model/inner", *([None] if with_fields_outside else [])]
        for k, place in enumerate(places):
            group = file if place is None else file.createGroup(place)
            field = group.createVariable("t2m", "f4", ("time", "lat", "lon"))
            field.units, field[:] = "K", ds.t2m.values + 100 * k
    return ds


@pytest.mark.parametrize(("group", "more"), [("model", 0), ("/model", 0), ("model/inner", 100)])
def test_a_group_has_the_coordinates_of_those_above_it(tmp_path, group, more):
    expected = grouped(tmp_path / "a.nc")
    found, _ = open_series(tmp_path / "a.nc", GridSpec(group=group))
    np.testing.assert_array_equal(found.t2m, expected.t2m + more)
    np.testing.assert_array_equal(found.time, expected.time)
    np.testing.assert_array_equal(found.lon, expected.lon)


def test_a_group_of_a_zarr_store_has_the_coordinates_of_those_above_it(tmp_path):
    ds = made()
    ds.drop_vars("t2m").to_zarr(tmp_path / "a.zarr")
    ds[["t2m"]].drop_vars(["time", "lat", "lon"]).to_zarr(tmp_path / "a.zarr", group="model", mode="a")
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    found, _ = open_series(tmp_path / "a.zarr", GridSpec(group="model"))
    np.testing.assert_array_equal(found.t2m, ds.t2m)
    np.testing.assert_array_equal(found.time, ds.time)
    with pytest.raises(FileError, match="holds its variables in groups: model"):
        open_series(tmp_path / "a.zarr")


def test_groups_are_told_of(tmp_path):
    grouped(tmp_path / "a.nc")
    with pytest.raises(FileError, match=r"in groups: model, model/inner\. Choose one .*`--group model`"):
        open_series(tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "c.nc", "w") as file:
        outer = file.createGroup("outer")
        outer.createDimension("time", 3)
        outer.createGroup("in").createVariable("t2m", "f4", ("time", "time"))
    with pytest.raises(FileError, match=r"the variables of outer in groups: outer/in\..*`--group outer/in`"):
        open_series(tmp_path / "c.nc", GridSpec(group="outer"))
    grouped(tmp_path / "b.nc", with_fields_outside=True)
    with pytest.warns(SourceWarning, match="the groups model, model/inner hold variables as well"):
        found, _ = open_series(tmp_path / "b.nc")
    assert float(found.t2m[0, 0, 0]) == 200


def test_a_file_without_units_is_not_joined_to_one_with_units(tmp_path):
    ds = made()
    ds.t2m.attrs["units"] = "K"
    ds.isel(time=slice(3)).to_netcdf(tmp_path / "a.nc")
    ds["t2m"] = ds.t2m.drop_attrs()
    ds.isel(time=slice(3, 6)).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        UnitsError, match=r"b\.nc' has 't2m' without units, .*a\.nc' in 'K'.*ncatted -a units,t2m"
    ):
        open_series(tmp_path)


def test_hdf5_after_a_user_block(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as file:
        file["t2m"] = np.arange(24.0).reshape(4, 2, 3)
    spec = GridSpec(time="time", time_units="hours since 2001-01-01")
    with pytest.raises(TimeAxisError, match="no variable 'time' for the time; available: t2m"):
        open_series(tmp_path / "a.h5", spec)


@pytest.mark.parametrize("fill", [None, -999.0], ids=["never written", "a fill value"])
def test_times_that_are_missing_are_told(tmp_path, fill):
    grouped(tmp_path / "a.nc", with_fields_outside=True)
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:
        time = file.variables["time"]
        if fill is not None:
            time.missing_value = fill
        time[4:] = netCDF4.default_fillvals["f8"] if fill is None else fill
    with (
        pytest.warns(SourceWarning, match="the groups model, model/inner hold variables"),
        pytest.raises(TimeAxisError, match=r"missing at index 4, and at 2 of 6 .*isel\(time=ds\['time'\]"),
    ):
        open_series(tmp_path / "a.nc")
