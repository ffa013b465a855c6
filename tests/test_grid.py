"""Files to canonical form and back: forms that are understood, forms that are refused, the restored file."""

import json
import os
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.source import reading
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.decoding import decode
from stconv.datasets.source.grid import GridSpec, Origin, canonicalize, open_series, restore
from stconv.errors import FileError, GridError, TimeAxisError, UnitsError, VariableError


def made(n=4, lat=(10.0, 20.0, 30.0), lon=(0.0, 1.0, 2.0, 3.0), start="2001-01-01", name="t2m"):
    """A small field whose value says where it is: 1000 time + 10 lat + lon."""
    times = np.datetime64(start, "ns") + np.arange(n) * np.timedelta64(6, "h")
    lat, lon = np.array(lat), np.array(lon)
    index = (times - np.datetime64("2001-01-01", "ns")) / np.timedelta64(6, "h")
    values = 1000 * index[:, None, None] + 10 * lat[None, :, None] + lon[None, None, :] % 360
    return xr.Dataset(
        {
            name: (
                ("time", "lat", "lon"),
                values.astype("float32"),
                {"units": "K", "long_name": "temperature"},
            )
        },
        {
            "time": ("time", times, {"standard_name": "time"}),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
        {"title": "made"},
    )


def round_trip(ds, spec=None):
    canonical, origin = canonicalize(ds, spec)
    through_text = Origin.from_json(json.loads(json.dumps(origin.to_json())))
    assert through_text == origin
    return canonical, restore(canonical, through_text)


@pytest.mark.parametrize("lat", [(10.0, 20.0, 30.0), (30.0, 20.0, 10.0)])
@pytest.mark.parametrize(
    ("lon", "canonical_lon"),
    [
        ((0.0, 1.0, 2.0), [0, 1, 2]),
        ((200.0, 265.0, 330.0), [-160, -95, -30]),
        ((358.0, 359.0, 0.0, 1.0), [-2, -1, 0, 1]),
        ((170.0, 175.0, 180.0, 185.0), [170, 175, 180, 185]),
        ((170.0, 175.0, -180.0, -175.0), [170, 175, 180, 185]),
        ((0.0, 90.0, 180.0, 270.0), [-180, -90, 0, 90]),
        ((-180.0, -90.0, 0.0, 90.0), [-180, -90, 0, 90]),
        ((5.0,), [5]),
    ],
)
def test_latitude_and_longitude_in_any_convention(lat, lon, canonical_lon):
    ds = made(lat=lat, lon=lon)
    canonical, restored = round_trip(ds)
    np.testing.assert_array_equal(canonical.lat, [10, 20, 30])
    np.testing.assert_array_equal(canonical.lon, canonical_lon)
    expected = (
        1000 * np.arange(4)[:, None, None] + 10 * canonical.lat.values[:, None] + canonical.lon.values % 360
    )
    np.testing.assert_array_equal(canonical.t2m, expected)
    assert canonical.t2m.dims == ("time", "lat", "lon")
    assert canonical.t2m.dtype == np.float32
    xr.testing.assert_identical(restored, ds)


def test_other_names_and_another_order_come_back():
    ds = (
        made()
        .rename(time="valid_time", lat="latitude", lon="longitude")
        .transpose("longitude", "latitude", ...)
    )
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dims == ("time", "lat", "lon")
    xr.testing.assert_identical(restored, ds)
    assert restored.t2m.dims == ("longitude", "latitude", "valid_time")


def test_names_without_attributes_are_understood():
    ds = made().drop_attrs(deep=True).rename(time="time_counter", lat="nav_lat", lon="nav_lon")
    canonical, restored = round_trip(ds)
    assert dict(canonical.sizes) == {"time": 4, "lat": 3, "lon": 4}
    xr.testing.assert_identical(restored, ds)


def test_attributes_win_over_names():
    ds = made().rename(lat="a", lon="b", time="c")
    canonical, restored = round_trip(ds)
    assert dict(canonical.sizes) == {"time": 4, "lat": 3, "lon": 4}
    xr.testing.assert_identical(restored, ds)


def test_named_axes_win_over_all():
    ds = made().drop_attrs(deep=True).rename(time="when", lat="u", lon="v")
    canonical, _ = round_trip(ds, GridSpec(time="when", lat="u", lon="v"))
    assert dict(canonical.sizes) == {"time": 4, "lat": 3, "lon": 4}
    with pytest.raises(GridError, match="no variable 'w' for the latitude; available: t2m"):
        canonicalize(ds, GridSpec(time="when", lat="w", lon="v"))
    with pytest.raises(TimeAxisError, match="no variable 'w' for the time"):
        canonicalize(ds, GridSpec(time="w"))


def test_a_new_lead_dimension_takes_the_place_after_the_time():
    ds = made(lat=(30.0, 20.0, 10.0), lon=(358.0, 359.0, 0.0)).rename(lat="latitude", lon="longitude")
    canonical, origin = canonicalize(ds)
    forecast = canonical.isel(time=[0, 1]).expand_dims(lead=[1, 2, 3], axis=1)
    restored = restore(forecast, origin)
    assert restored.t2m.dims == ("time", "lead", "latitude", "longitude")
    xr.testing.assert_equal(restored.t2m.isel(lead=2, drop=True), ds.t2m.isel(time=[0, 1]))
    without_time = canonical.isel(time=0, drop=True).expand_dims(lead=[1, 2])
    restored = restore(without_time, origin)
    assert restored.t2m.dims == ("lead", "latitude", "longitude")
    np.testing.assert_array_equal(restored.longitude, [358, 359, 0])


def test_restore_refuses_another_grid():
    canonical, origin = canonicalize(made())
    with pytest.raises(GridError, match="has 2 along 'lat', its origin 3"):
        restore(canonical.isel(lat=slice(2)), origin)


def test_a_projected_grid_keeps_rows_columns_and_its_map():
    ds = made().rename(lat="y", lon="x").drop_vars(["y", "x"])
    ds = ds.assign_coords(
        y=("y", [3.0, 2.0, 1.0], {"standard_name": "projection_y_coordinate", "units": "km"}),
        x=("x", [0.0, 1.0, 2.0, 3.0], {"standard_name": "projection_x_coordinate", "units": "km"}),
    )
    ds["crs"] = xr.DataArray(
        np.int32(0), attrs={"grid_mapping_name": "albers", "parallels": np.array([-26.2, -29.3])}
    )
    ds.t2m.attrs["grid_mapping"] = "crs"
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dims == ("time", "y", "x")
    np.testing.assert_array_equal(canonical.y, [3, 2, 1])
    xr.testing.assert_identical(restored, ds)


def test_a_pixel_grid_without_coordinates():
    ds = made().rename(lat="row", lon="col").drop_vars(["row", "col"])
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dims == ("time", "y", "x")
    np.testing.assert_array_equal(canonical.x, [0, 1, 2, 3])
    xr.testing.assert_identical(restored, ds)
    other = ds.rename(row="up", col="right")
    with pytest.raises(
        GridError, match=r"no axis for latitude or rows.*time \(4\), up \(3\), right \(4\).*`y` and `x`"
    ):
        canonicalize(other)
    canonical, restored = round_trip(other, GridSpec(y="up", x="right"))
    xr.testing.assert_identical(restored, other)


def test_two_dimensional_coordinates_stay_with_the_rows_and_columns():
    ds = made().rename(lat="j", lon="i").drop_vars(["j", "i"])
    shape = (3, 4)
    ds = ds.assign_coords(
        lat=(("j", "i"), np.arange(12.0).reshape(shape), {"units": "degrees_north"}),
        lon=(("j", "i"), np.arange(12.0, 24.0).reshape(shape), {"units": "degrees_east"}),
    )
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dims == ("time", "y", "x")
    assert canonical.lat.dims == ("y", "x")
    xr.testing.assert_identical(restored, ds)


def test_a_single_level_is_dropped_and_comes_back():
    ds = made().expand_dims(height=[2.0], axis=1)
    ds.height.attrs["units"] = "m"
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dims == ("time", "lat", "lon")
    xr.testing.assert_identical(restored, ds)


def test_levels_have_to_be_chosen():
    ds = xr.concat([made(), made() + 1], xr.Variable("level", [500, 850])).transpose("time", "level", ...)
    ds.t2m.attrs["units"] = "K"
    with pytest.raises(VariableError, match=r"`select: \{level: VALUE\}`.*\(level: 500, 850\)"):
        canonicalize(ds)
    canonical, restored = round_trip(ds, GridSpec(select={"level": 850}))
    np.testing.assert_array_equal(canonical.t2m, ds.t2m.sel(level=850))
    assert restored.level == 850
    with pytest.raises(GridError, match="'level' has no value 700; choices: 500, 850"):
        canonicalize(ds, GridSpec(select={"level": 700}))
    with pytest.raises(
        GridError, match="no dimension or coordinate 'plev' to select from; available: lat, level, lon, time"
    ):
        canonicalize(ds, GridSpec(select={"plev": 700}))
    members = ds.drop_vars("level").rename(level="member")
    np.testing.assert_array_equal(canonicalize(members, GridSpec(select={"member": 1}))[0].t2m, canonical.t2m)
    with pytest.raises(GridError, match="expected an index from 0 to 1"):
        canonicalize(members, GridSpec(select={"member": 2}))


def test_versions_along_the_time_are_chosen():
    ds = made().assign_coords(expver=("time", ["0001", "0001", "0005", "0005"]))
    canonical, restored = round_trip(ds)
    xr.testing.assert_identical(restored, ds)
    canonical, _ = round_trip(ds, GridSpec(select={"expver": "0001"}))
    assert canonical.sizes["time"] == 2
    with pytest.raises(GridError, match="'expver' has no value '0002'; choices: 0001, 0005"):
        canonicalize(ds, GridSpec(select={"expver": "0002"}))


def test_sentinels_become_missing():
    ds = made()
    ds.t2m[1, 2, 3] = -999.0
    ds.t2m[0, 0, 0] = 1e9
    canonical, _ = canonicalize(ds, GridSpec(valid_range={"t2m": [-100, 1e6]}))
    assert int(canonical.t2m.isnull().sum()) == 2
    assert bool(canonical.t2m[1, 2, 3].isnull())
    canonical, _ = canonicalize(ds, GridSpec(valid_range={"t2m": [-100, None]}))
    assert int(canonical.t2m.isnull().sum()) == 1


def test_units_are_converted_and_come_back():
    ds = made()
    canonical, origin = canonicalize(ds, GridSpec(units={"t2m": "degC"}))
    np.testing.assert_allclose(canonical.t2m, ds.t2m - 273.15, atol=1e-3)
    assert canonical.t2m.attrs["units"] == "degC"
    restored = restore(canonical, origin)
    np.testing.assert_allclose(restored.t2m, ds.t2m, atol=1e-3)
    assert restored.t2m.attrs["units"] == "K"
    with pytest.raises(UnitsError, match="'t2m' has units 'K', which cannot be converted to 'm s-1'"):
        canonicalize(ds, GridSpec(units={"t2m": "m s-1"}))
    with pytest.raises(UnitsError, match="Spell it as UDUNITS does"):
        canonicalize(ds, GridSpec(units={"t2m": "florps"}))
    del ds.t2m.attrs["units"]
    with pytest.raises(UnitsError, match="has no units"):
        canonicalize(ds, GridSpec(units={"t2m": "K"}))
    canonical, restored = round_trip(ds)
    assert canonical.t2m.attrs["units"] == ""
    xr.testing.assert_identical(restored, ds)


@pytest.mark.parametrize(
    ("found", "wanted", "value", "expected"),
    [
        ("degK", "K", 280.0, 280.0),
        ("degree_C", "K", 10.0, 283.15),
        ("degF", "degC", 212.0, 100.0),
        ("m s**-1", "km h-1", 10.0, 36.0),
        ("Pa", "hPa", 101325.0, 1013.25),
        ("m", "mm", 0.25, 250.0),
    ],
)
def test_units_by_hand(found, wanted, value, expected):
    ds = xr.full_like(made(), value)
    ds.t2m.attrs["units"] = found
    canonical, _ = canonicalize(ds, GridSpec(units={"t2m": wanted}))
    np.testing.assert_allclose(canonical.t2m, expected, rtol=1e-6)


def test_variables_are_chosen_in_order_and_missing_ones_named():
    ds = xr.merge([made(), made(name="u"), made(name="v")])
    ds["orography"] = ds.t2m[0].drop_vars("time")
    canonical, _ = canonicalize(ds, variables=["v", "t2m"])
    assert list(canonical.data_vars) == ["v", "t2m"]
    assert list(canonicalize(ds)[0].data_vars) == ["t2m", "u", "v"]
    with pytest.raises(VariableError, match="no variable 'w'; available: t2m, u, v"):
        canonicalize(ds, variables=["w"])
    with pytest.raises(VariableError, match=r"'orography' has no time 'time'.*It is static"):
        canonicalize(ds, variables=["orography"])


def test_latitudes_have_to_be_latitudes_in_order():
    with pytest.raises(
        GridError, match=r"'lat' is not monotonic: 30 at index 1 is followed by 20.*Sort the file"
    ):
        canonicalize(made(lat=(10.0, 30.0, 20.0)))
    with pytest.raises(GridError, match=r"within \[-90, 90\] degrees, found 10 to 300"):
        canonicalize(made(lat=(10.0, 20.0, 300.0)))
    with pytest.raises(GridError, match="'lon' contains one meridian twice: 0 at index 0 and 360 at index 2"):
        canonicalize(made(lon=(0.0, 120.0, 360.0, 240.0)))
    with pytest.raises(GridError, match="a missing value at index 1"):
        canonicalize(made(lat=(10.0, np.nan, 20.0)))


def test_stations_are_no_grid():
    ds = xr.Dataset(
        {"t": (("time", "station"), np.zeros((2, 3)))},
        {
            "time": np.array(["2001-01-01", "2001-01-02"], dtype="M8[ns]"),
            "lat": ("station", [1.0, 2, 3], {"units": "degrees_north"}),
            "lon": ("station", [1.0, 2, 3], {"units": "degrees_east"}),
        },
    )
    with pytest.raises(GridError, match="Interpolate an unstructured grid or a list of stations"):
        canonicalize(ds)


def test_times_that_do_not_decode_say_what_would_help():
    ds = made().assign_coords(time=("time", [0.0, 31.0, 59.0, 90.0], {"units": "days"}))
    with pytest.raises(
        TimeAxisError, match=r"time 'time' cannot be decoded.*\(0.0 to 90.0\).*'days'.*`time_units`"
    ):
        canonicalize(ds)
    canonical, _ = canonicalize(ds, GridSpec(time_units="days since 0001-01-01", calendar="noleap"))
    assert canonical.time.values[1].isoformat() == "0001-02-01T00:00:00"
    misspelled = made().assign_coords(time=("time", [0.0, 1, 2, 3], {"Unit": "days since 2001-01-01"}))
    assert canonicalize(misspelled)[0].time.values[1] == np.datetime64("2001-01-02")
    with pytest.raises(TimeAxisError, match="cannot be decoded with units 'fortnights since yesterday'"):
        canonicalize(ds, GridSpec(time_units="fortnights since yesterday"))
    with pytest.raises(
        TimeAxisError, match=r"no time axis found; its dimensions are lat \(3: 10.0 to 30.0\)"
    ):
        canonicalize(made().isel(time=0, drop=True))


def test_times_that_nothing_states_are_counted():
    ds = made(4).drop_vars("time")
    counted, _ = canonicalize(ds, GridSpec(step="1d", start="1999-12-31"))
    assert list(counted.time.values) == list(np.arange("1999-12-31", "2000-01-04", dtype="datetime64[D]"))
    other, _ = canonicalize(ds.rename(time="run"), GridSpec(step="6h", start="2001-01-01", time="run"))
    assert other.time.values[-1] == np.datetime64("2001-01-01T18:00")
    with pytest.warns(SourceWarning, match="has no times: its steps are counted from 2000-01-01"):
        canonicalize(ds, GridSpec(step="1d"))
    with pytest.raises(TimeAxisError, match=r"the dimension 'time' has no times\. State `step`.*found none"):
        canonicalize(ds)
    with pytest.raises(TimeAxisError, match="start is 'yesterday'; expected a time such as 1979-01-01"):
        canonicalize(ds, GridSpec(step="1d", start="yesterday"))
    elsewhere = ds.assign_coords(
        valid=("time", np.array(["2003-01-01", "2003-01-02", "2003-01-03", "2003-01-04"], "M8[ns]"))
    )
    assert canonicalize(elsewhere)[0].time.values[0] == np.datetime64("2003-01-01")


def test_bad_times_are_refused_and_gaps_are_not():
    ds = made(8)
    canonicalize(ds.isel(time=[0, 1, 2, 5, 6, 7]))
    with pytest.raises(TimeAxisError, match="dataset: expected distinct times"):
        canonicalize(ds.isel(time=[0, 1, 1, 2]))
    with pytest.raises(TimeAxisError, match="expected increasing times"):
        canonicalize(ds.isel(time=[0, 2, 1]))
    irregular = ds.assign_coords(time=ds.time + np.array([0, 0, 0, 0, 1, 1, 2, 2], dtype="timedelta64[h]"))
    with pytest.raises(TimeAxisError, match="expected one time step throughout"):
        canonicalize(irregular)
    no_time = ds.assign_coords(time=ds.time.where(ds.time != ds.time[2]))
    with pytest.raises(TimeAxisError, match="time 'time' is missing at index 2"):
        canonicalize(no_time)


def test_the_time_that_is_valid_counts():
    ds = made().assign_coords(valid_time=("time", made().time.values, {"standard_name": "time"}))
    ds.time.attrs["standard_name"] = "forecast_reference_time"
    canonical, restored = round_trip(ds)
    xr.testing.assert_identical(restored, ds)
    later = canonical.drop_vars("valid_time").assign_coords(time=canonical.time + np.timedelta64(1, "D"))
    assert "time" in restore(later, canonicalize(ds)[1]).indexes, (
        "equal times: the dimension keeps its coordinate"
    )
    ds = ds.assign_coords(valid_time=ds.valid_time + np.timedelta64(6, "h"))
    canonical, restored = round_trip(ds)
    assert canonical.time.values[0] == np.datetime64("2001-01-01T06:00")
    xr.testing.assert_identical(restored, ds)


def test_one_step_with_a_scalar_time():
    ds = made(1).squeeze("time")
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dims == ("time", "lat", "lon")
    xr.testing.assert_identical(restored, ds)


def test_integers_become_floats():
    ds = made().astype("int16", keep_attrs=True)
    canonical, restored = round_trip(ds)
    assert canonical.t2m.dtype == np.float32
    xr.testing.assert_equal(restored, ds)


# files


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("nc", {"format": "NETCDF3_64BIT"}),
        ("nc", {"format": "NETCDF4"}),
        ("zarr", {"zarr_format": 2}),
        ("zarr", {"zarr_format": 3}),
    ],
)
def test_every_format_gives_the_same(tmp_path, suffix, options):
    ds = made(lat=(30.0, 20.0, 10.0))
    ds.t2m[1, 1, 1] = np.nan
    file = tmp_path / f"a.{suffix}"
    packed = {"t2m": {"dtype": "int16", "scale_factor": 0.5, "add_offset": 100.0, "_FillValue": -32767}}
    if suffix == "nc":
        ds.to_netcdf(file, encoding=packed, **options)
    else:
        ds.to_zarr(file, encoding=packed, consolidated=False, **options)
    found, origin = open_series(file)
    xr.testing.assert_equal(found.t2m, canonicalize(ds)[0].t2m)
    out = tmp_path / "out.nc"
    restore(found, origin).to_netcdf(out)
    with xr.open_dataset(out) as again:
        xr.testing.assert_equal(again.t2m.load(), ds.t2m)
        assert again.t2m.attrs["units"] == "K"


def test_groups(tmp_path):
    made().to_netcdf(tmp_path / "a.nc", group="/model/level")
    found, _ = open_series(tmp_path / "a.nc", GridSpec(group="model/level"))
    assert found.sizes["time"] == 4
    with pytest.raises(FileError, match="cannot be opened at group 'nowhere'"):
        open_series(tmp_path / "a.nc", GridSpec(group="nowhere"))


def test_many_files_in_any_order_with_a_gap(tmp_path):
    made(4, start="2001-01-03").to_netcdf(tmp_path / "a.nc")
    made(4, start="2001-01-01").to_netcdf(tmp_path / "b.nc")
    found, _ = open_series(str(tmp_path / "*.nc"))
    assert found.sizes["time"] == 8
    np.testing.assert_array_equal(found.t2m[:, 0, 0], [100, 1100, 2100, 3100, 8100, 9100, 10100, 11100])
    again, _ = open_series(tmp_path)
    xr.testing.assert_identical(again, found)
    again, _ = open_series([tmp_path / "b.nc", tmp_path / "a.nc"])
    np.testing.assert_array_equal(again.t2m, found.t2m)


def test_interleaved_files_are_sorted(tmp_path):
    ds = made(6)
    ds.isel(time=slice(0, None, 2)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=slice(1, None, 2)).to_netcdf(tmp_path / "b.nc")
    found, _ = open_series(tmp_path)
    np.testing.assert_array_equal(found.t2m, ds.t2m)


def test_one_file_per_variable(tmp_path):
    made(name="u").to_netcdf(tmp_path / "u.nc")
    made(name="v").to_netcdf(tmp_path / "v.nc")
    found, origin = open_series(tmp_path, variables=["v", "u"])
    assert list(found.data_vars) == ["v", "u"]
    assert set(restore(found, origin).data_vars) == {"u", "v"}
    with pytest.raises(VariableError, match="no variable 'w'"):
        open_series(tmp_path, variables=["w"])
    made(3, name="v").to_netcdf(tmp_path / "v.nc")
    with pytest.raises(TimeAxisError, match=r"\['u'\] cover .*\(4 steps\), \['v'\] cover .*\(3 steps\)"):
        open_series(tmp_path)


def test_overlapping_files_have_to_agree(tmp_path):
    ds = made(6)
    ds.isel(time=slice(0, 4)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=slice(2, 6)).to_netcdf(tmp_path / "b.nc")
    np.testing.assert_array_equal(open_series(tmp_path)[0].t2m, ds.t2m)
    (ds.isel(time=slice(2, 6)) + 1).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        TimeAxisError, match=r"a\.nc' and '.*b\.nc' hold different values of t2m for one time, 2001-01-01T12"
    ):
        open_series(tmp_path)


def test_files_have_to_share_grid_units_and_calendar(tmp_path):
    made().to_netcdf(tmp_path / "a.nc")
    later = made(start="2001-01-02", lat=(10.0, 20.0, 31.0))
    later.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        GridError, match=r"b\.nc' has a different grid than '.*a\.nc': along 'lat' 3 points from 10 to 31"
    ):
        open_series(tmp_path)
    later = made(start="2001-01-02")
    later.t2m.attrs["units"] = "degC"
    later.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        UnitsError, match=r"b\.nc' has 't2m' in 'degC', '.*a\.nc' in 'K'.*`units: \{t2m: K\}`"
    ):
        open_series(tmp_path)
    found, _ = open_series(tmp_path, GridSpec(units={"t2m": "K"}))
    np.testing.assert_allclose(found.t2m[4] - made().t2m[0], 4000 + 273.15, atol=0.01)
    made(start="2001-01-02").convert_calendar("360_day", align_on="date").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(TimeAxisError, match=r"has calendar '360_day', .* has 'standard'"):
        open_series(tmp_path)


def test_large_sources_stay_on_disk(tmp_path, monkeypatch):
    ds = made(12, lat=(30.0, 20.0, 10.0), lon=(358.0, 359.0, 0.0))
    ds.isel(time=slice(0, 6)).to_netcdf(tmp_path / "a.nc")
    ds.isel(time=slice(6, 12)).to_netcdf(tmp_path / "b.nc")
    expected, _ = open_series(tmp_path)
    monkeypatch.setattr("stconv.datasets.source.grid.MEMORY_BYTES", 100)
    monkeypatch.setattr("stconv.datasets.source.canonical.CHUNK_BYTES", 100)
    found, _ = open_series(tmp_path)
    assert found.t2m.chunks is not None
    assert len(found.t2m.chunks[0]) > 2
    assert expected.t2m.chunks is None
    xr.testing.assert_identical(found.compute(), expected)


@pytest.mark.parametrize(
    "options", [{"format": "NETCDF3_64BIT"}, {"format": "NETCDF3_CLASSIC"}, {"format": "NETCDF4"}]
)
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_truncated_files(tmp_path, options, kept):
    made(200).to_netcdf(tmp_path / "a.nc", unlimited_dims=["time"], **options)
    content = (tmp_path / "a.nc").read_bytes()
    open_series(tmp_path / "a.nc")
    (tmp_path / "cut.nc").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FileError, match=r"cut\.nc' is (damaged or )?truncated.*Download or write it again"):
        open_series(tmp_path / "cut.nc")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty .*Download or write it again"),
        (
            b"time,lat,lon\n1,2,3\n",
            "is not a data file: expected NetCDF, Zarr or GRIB, found the first bytes",
        ),
        (b"<!DOCTYPE html><html></html>", "is a web page or XML"),
        (b"PK\x03\x04aaaa", "is a zip archive.*Unpack it"),
        (b"\x1f\x8b\x08aaaaaa", "is gzip-compressed.*gunzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "is damaged or truncated"),
        (b"CDF\x01" + bytes(5), "is truncated"),
    ],
)
def test_what_is_no_data(tmp_path, content, message):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(FileError, match=message):
        open_series(tmp_path / "a.nc")


def test_missing_files(tmp_path):
    with pytest.raises(FileError, match=r"No file '.*nothing\.nc'"):
        open_series(tmp_path / "nothing.nc")
    with pytest.raises(FileError, match="No file matches"):
        open_series(str(tmp_path / "*.nc"))
    with pytest.raises(FileError, match="holds no data files"):
        open_series(tmp_path)
    with pytest.raises(FileError, match="at least one file"):
        open_series([])


def test_grib_without_its_extra(tmp_path, monkeypatch):
    (tmp_path / "a.grib").write_bytes(b"GRIB" + bytes(20) + b"7777")
    monkeypatch.setattr("stconv.datasets.source.reading.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        FileError, match=r"is a GRIB file; reading it needs an extra: pip install 'stconv\[grib\]'"
    ):
        open_series(tmp_path / "a.grib")


def test_a_truncated_grib_file_is_refused(tmp_path, shared_data):
    content = (shared_data / "benchmark" / "era5_t2m_uk_2019_03.grib").read_bytes()
    (tmp_path / "a.grib").write_bytes(content[: len(content) // 2 + 100])
    with pytest.raises(FileError, match=r"a\.grib' is truncated"):
        open_series(tmp_path / "a.grib")


@pytest.mark.parametrize("lon", [(0.0, 120.0, 240.0, 360.0), (-180.0, -60.0, 60.0, 180.0)])
def test_a_cyclic_column_is_dropped_and_comes_back(lon):
    ds = made(lon=lon)
    ds["t2m"][..., -1] = ds.t2m[..., 0]
    canonical, restored = round_trip(ds)
    xr.testing.assert_identical(restored, ds.astype(np.float32))
    assert canonical.lon.values.tolist() in ([-120.0, 0.0, 120.0], [-180.0, -60.0, 60.0])
    plain, _ = canonicalize(ds.isel(lon=slice(0, -1)))
    np.testing.assert_array_equal(canonical.t2m, plain.t2m)
    ds["t2m"][1, 2, -1] += 1
    with pytest.raises(
        GridError, match=rf"longitudes {lon[0]:g} and {lon[-1]:g} of 'lon' are the same meridian.*'t2m'"
    ):
        canonicalize(ds)


def test_a_file_that_breaks_after_opening_is_named(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    ds = made(4000)
    ds["t2m"] = (ds.t2m.dims, generator.normal(size=ds.t2m.shape).astype("f4"))
    for name, part in (("a.nc", ds.isel(time=slice(0, 2000))), ("b.nc", ds.isel(time=slice(2000, 4000)))):
        part.to_netcdf(
            tmp_path / name, unlimited_dims=["time"], encoding={"t2m": {"chunksizes": (100, 3, 4)}}
        )
    monkeypatch.setattr("stconv.datasets.source.grid.MEMORY_BYTES", 100)
    monkeypatch.setattr("stconv.datasets.source.canonical.CHUNK_BYTES", 100)
    found, _ = open_series(tmp_path)
    assert found.t2m.chunks[0] == (100,) * 40
    os.truncate(tmp_path / "b.nc", 1000)
    with pytest.raises(FileError, match=r"b\.nc opens but its values cannot be read.*has changed since"):
        found.compute()


class BrokenVariable:
    """A variable on disk that cannot be read, and counts the attempts."""

    dims, shape, ndim, size, dtype = ("time",), (400,), 1, 400, np.dtype("f4")
    attrs: ClassVar[dict] = {}
    encoding: ClassVar[dict] = {}

    def __init__(self):
        self.attempts = 0

    def __getitem__(self, key):
        self.attempts += 1
        raise OSError("damaged")


def test_no_thread_reads_a_damaged_file_once_its_error_is_raised(tmp_path, monkeypatch):
    """HDF5 crashes the process where a file is closed while a thread of dask still reads it."""
    monkeypatch.setattr(reading, "_unreadable", lambda *args: FileError("cannot be read"))
    broken = BrokenVariable()
    lazy = reading.chunked(broken, "time", 40, str(tmp_path / "a.nc"))
    assert len(lazy.chunks[0]) == 40
    with pytest.raises(FileError, match="cannot be read"):
        lazy.data.compute(scheduler="threads", num_workers=8)
    with pytest.raises(FileError, match="cannot be read"):
        lazy.data.compute(scheduler="threads", num_workers=8)
    assert broken.attempts == 1


def test_an_absent_variable_lists_all_that_the_files_hold(tmp_path):
    xr.merge([made(), made(name="u")]).to_netcdf(tmp_path / "a.nc")
    made(name="v").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(VariableError, match=r"the 2 files, .*no variable 'w'; available: t2m, u, v\."):
        open_series(tmp_path, variables=["t2m", "w"])
    with pytest.raises(VariableError, match=r"a\.nc: no variable 'w'; available: t2m, u\."):
        open_series(tmp_path / "a.nc", variables=["t2m", "w"])


def test_files_that_spell_one_unit_in_two_ways_join(tmp_path):
    for i, units in enumerate(("K", "Kelvin", "degrees_Kelvin")):
        ds = made(start=f"2001-01-0{i + 1}")
        ds.t2m.attrs["units"] = units
        ds.to_netcdf(tmp_path / f"{i}.nc")
    found, _ = open_series(tmp_path)
    assert found.sizes["time"] == 12
    assert found.t2m.attrs["units"] == "K"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda ds: ds.rename(t2m="\ud800"), VariableError),
        (lambda ds: ds.t2m.attrs.update(units="\ud800") or ds, UnitsError),
        (lambda ds: ds.time.attrs.update(calendar="\ud800") or ds, UnitsError),
    ],
)
def test_half_a_surrogate_pair_is_refused(change, error):
    with pytest.raises(error, match=r"'\\ud800'.* a lone surrogate"):
        canonicalize(change(made()))


def with_attribute(name, of=None):
    def change(ds):
        (ds.attrs if of is None else ds[of].attrs)[name] = "x"
        return ds

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        *(
            (with_attribute(name), "of the file")
            for name in ("a/b", "@a", "a ", " a", "a\tb", "a\x7f", "", "-a")
        ),
        (with_attribute("a/b", "t2m"), "attribute 'a/b' of 't2m'"),
        (with_attribute("a/b", "lat"), "attribute 'a/b' of 'lat'"),
        (with_attribute("a/b", "time"), "attribute 'a/b' of the time"),
        (with_attribute("é" * 129), "258 bytes"),
        (with_attribute("e\u0301"), "Unicode NFC"),
        (lambda ds: ds.rename(t2m="@t2m"), "variable '@t2m'"),
        (lambda ds: ds.rename(lat="lat "), "dimension 'lat '|variable 'lat '"),
        (lambda ds: ds.rename(t2m="t2/m"), "variable 't2/m'"),
    ],
)
def test_names_that_netcdf_cannot_hold_are_refused(change, says):
    """Compared with the NetCDF library, which does not take them either."""
    with pytest.raises(VariableError, match=says) as caught:
        canonicalize(change(made()))
    assert "that NetCDF cannot hold" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a b", "1a", "_a", "é", "a.b-c+d@e:f", "a\\b", "\u00a0a", "é" * 128, "a" * 256]
)
def test_names_that_the_netcdf_library_takes_are_taken(name, tmp_path):
    import netCDF4

    canonicalize(with_attribute(name)(made().rename(t2m=name, lat="lat" + name[:1])))
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension(name, 1)
        file.createVariable(name, "f4", (name,)).setncattr(name, "x")
        assert list(file.variables) == [name]


def test_names_of_what_is_left_out_do_not_matter():
    ds = made()
    ds["a/b"] = ds["t2m"]
    canonicalize(ds, variables=["t2m"])


@pytest.mark.parametrize("name", ["CLASS", "_NCProperties", "_Netcdf4Dimid"])
def test_names_in_which_a_file_keeps_its_structure_are_no_fault(name):
    canonicalize(with_attribute(name)(made()))


@pytest.mark.parametrize("key", ["units", "calendar"])
def test_half_a_surrogate_pair_is_refused_before_anything_is_decoded(key):
    ds = made().assign_coords(time=("time", np.arange(4), {"units": "days since 2001-01-01", key: "\ud800"}))
    with pytest.raises(UnitsError, match=rf"the {key} of 'time', '\\ud800'") as caught:
        decode(ds)
    str(caught.value).encode("utf-8")
