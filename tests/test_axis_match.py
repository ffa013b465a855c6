"""Axes that are equal but for rounding, and axes that differ: between files, static fields and models."""

import numpy as np
import pytest
import xarray as xr

from stconv.bundle import ModelGrid
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.axis_match import even, positions, same_axis
from stconv.datasets.source.grid import GridSpec, canonicalize, open_series, restore
from stconv.datasets.source.static import read_static
from stconv.errors import GridError
from stconv.forecast.checks import check_grid

COUNT = np.arange(10.0)
AXES = {
    "10 m in degrees": (7 + 8.98e-5 * COUNT, False),
    "a hundredth of a degree at -10": (-10 + 0.01 * COUNT, True),
    "a kilometre in metres": (3.2e6 + 1013.3 * COUNT, False),
    "a satellite's angles in radian": (-0.1 + 5.6e-5 * COUNT, False),
    "a global grid": (-180 + 36 * COUNT, True),
    "one point": (np.array([12.3]), True),
}


def as_float32(axis, turn):
    return (axis.astype(np.float32) if not turn else (axis % 360).astype(np.float32)).astype(float)


@pytest.mark.parametrize("name", AXES)
def test_float32_is_rounding_and_a_tenth_of_a_cell_is_not(name):
    axis, turn = AXES[name]
    rounded = as_float32(axis, turn)
    assert same_axis(axis, rounded, turn)
    assert same_axis(rounded, axis, turn)
    shift = 0.1 * (axis[1] - axis[0]) if axis.size > 1 else 0.1
    assert not same_axis(axis, axis + shift, turn)
    assert not same_axis(axis, as_float32(axis + shift, turn), turn)
    assert positions(axis[::-1], np.append(rounded, 500.0), turn)[1] is None
    assert positions(axis + shift, rounded, turn)[1] == 0


def test_decimals_are_rounding():
    axis = 0.125 + 0.25 * COUNT
    assert same_axis(axis, np.round(axis, 2))
    assert not same_axis(axis, axis[:-1])
    assert even((7 + 8.98e-5 * COUNT).astype(np.float32))
    assert not even(np.array([0.0, 1.0, 2.1]))


def field(y, x, names, units=("degrees_north", "degrees_east"), start="2001-01-01"):
    times = np.datetime64(start, "ns") + np.arange(4) * np.timedelta64(6, "h")
    values = np.arange(4.0)[:, None, None] + 10 * np.arange(len(y))[:, None] + np.arange(len(x))
    coords = {n: (n, axis, {"units": u}) for n, axis, u in zip(names, (y, x), units, strict=True)}
    variable = (("time", *names), values.astype("f4"), {"units": "K"})
    return xr.Dataset({"t2m": variable}, {"time": times, **coords})


def test_ten_metres_in_degrees_are_a_grid():
    ds, _ = canonicalize(field(45 + 8.98e-5 * COUNT, 7 + 8.98e-5 * COUNT, ("lat", "lon")))
    np.testing.assert_allclose(ds.lon, 7 + 8.98e-5 * COUNT, rtol=0, atol=1e-12)
    with pytest.raises(GridError, match="one meridian twice"):
        canonicalize(field(COUNT, np.array([0, 10.0, 370.0, 20.0]), ("lat", "lon")))


def test_a_western_edge_that_was_rounded_down_stays_the_western_edge():
    lon = np.array([180 - 1.5e-5, 216, 252, 288, 324, 0, 36, 72, 108, 144])
    ds, _ = canonicalize(field(COUNT, lon, ("lat", "lon")))
    assert same_axis(-180 + 36 * COUNT, ds.lon.values, turn=True)


@pytest.mark.parametrize("unit", ["m", "km", "kilometres"])
def test_files_join_whose_metres_are_rounded_or_kilometres(tmp_path, unit):
    y, x = 4.1e6 + 1013.3 * COUNT, 3.2e6 + 1013.3 * COUNT
    field(y, x, ("y", "x"), ("m", "m")).to_netcdf(tmp_path / "a.nc")
    scale = 1.0 if unit == "m" else 1e-3
    axes = [(scale * axis).astype("f4") for axis in (y, x)]
    field(*axes, ("y", "x"), (unit, unit), "2001-01-02").to_netcdf(tmp_path / "b.nc")
    ds, _ = open_series(tmp_path)
    assert ds.sizes["time"] == 8
    shifted = [axis + scale * 102 for axis in axes]
    field(*shifted, ("y", "x"), (unit, unit), "2001-01-02").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        GridError, match=r"a different grid .* they differ by up to 102, rounding explains up to 30"
    ):
        open_series(tmp_path)


def test_static_fields_of_a_projected_grid_are_put_in_place(tmp_path):
    y, x = 4.1e6 + 1000 * COUNT, 3.2e6 + 1000 * COUNT
    grid, _ = canonicalize(field(y[2:6], x[3:], ("y", "x"), ("m", "m")))
    values = (10 * np.arange(10)[:, None] + np.arange(10)).astype("f4")
    orography = xr.Dataset(
        {"z": (("y", "x"), values[::-1])},
        {"y": ("y", y[::-1] / 1000, {"units": "km"}), "x": ("x", x / 1000, {"units": "km"})},
    )
    orography.to_netcdf(tmp_path / "z.nc")
    np.testing.assert_array_equal(read_static({"z": tmp_path / "z.nc"}, grid)["z"], values[2:6, 3:])
    orography.assign_coords(x=("x", x / 1000 + 0.1, {"units": "km"})).to_netcdf(tmp_path / "off.nc")
    with pytest.raises(GridError, match="no x 3203000, which the series has; the nearest is 3203100"):
        read_static({"z": tmp_path / "off.nc"}, grid)


def test_a_model_takes_the_same_axes_and_no_others():
    ds, _ = canonicalize(field(45 + 0.01 * COUNT, -10 + 0.01 * COUNT, ("lat", "lon")))
    grid = {"dims": ["lat", "lon"], "geographic": True, "lat": ds.lat.values, "lon": ds.lon.values}
    rounded = [(45 + 0.01 * COUNT).astype("f4"), (350 + 0.01 * COUNT).astype("f4")]
    check_grid(canonicalize(field(*rounded, ("lat", "lon")))[0], ModelGrid.from_json(grid))
    off = field(rounded[0], rounded[1] + np.float32(1e-3), ("lat", "lon"))
    with pytest.raises(GridError, match=r"lon of the input differs: .*, up to 0.001\d* apart"):
        check_grid(canonicalize(off)[0], ModelGrid.from_json(grid))


def test_a_model_of_metres_takes_kilometres():
    y, x = 4.1e6 + 1000 * COUNT, 3.2e6 + 1000 * COUNT
    grid = {"dims": ["y", "x"], "geographic": False, "y": y, "x": x, "units": {"y": "m", "x": "m"}}
    check_grid(
        canonicalize(field(y / 1000, x / 1000, ("y", "x"), ("km", "km")))[0], ModelGrid.from_json(grid)
    )
    with pytest.raises(GridError, match="y of the input differs"):
        check_grid(
            canonicalize(field(y / 1000, x / 1000, ("y", "x"), ("1", "1")))[0], ModelGrid.from_json(grid)
        )


def test_degrees_to_the_west_and_south_are_negative(tmp_path):
    lat, lon = -10 - np.arange(7.0), -80 + np.arange(6.0)
    expected, _ = canonicalize(field(lat, lon, ("lat", "lon"), ("degrees_north", "degrees_east")))
    reversed_ = field(-lat, -lon, ("lat", "lon"), ("degrees_south", "degrees_west"))
    found, origin = canonicalize(reversed_)
    xr.testing.assert_allclose(found, expected)
    xr.testing.assert_identical(restore(found, origin), reversed_)


def test_an_axis_without_units_that_looks_like_radian_is_told():
    lat, lon = np.deg2rad(np.linspace(-80, 80, 9)), np.deg2rad(np.arange(0, 360, 36.0))
    with pytest.warns(SourceWarning, match="'lon' has no units and is read as degrees, but covers 2 pi"):
        found, _ = canonicalize(field(lat, lon, ("lat", "lon"), ("", "")))
    assert float(found.lon.max()) < 2 * np.pi


def test_coordinates_of_text_are_refused():
    ds = field(np.arange(7.0), np.arange(6.0), ("lat", "lon"), ("degrees_north", "degrees_east"))
    ds["lat"] = [f"{degree}N" for degree in range(7)]
    with pytest.raises(GridError, match=r"coordinate 'lat' holds .*0N.*; expected degrees as numbers"):
        canonicalize(ds)


def test_radian_are_degrees_and_lengths_are_rows_and_columns():
    lat, lon = np.linspace(-80, 80, 9), np.arange(0, 360, 36.0)
    degrees = field(lat, lon, ("lat", "lon"))
    radian = field(np.deg2rad(lat), np.deg2rad(lon), ("lat", "lon"), ("radian", "rad"))
    expected, (found, origin) = canonicalize(degrees)[0], canonicalize(radian)
    np.testing.assert_allclose(found.lon, expected.lon, atol=1e-9)
    np.testing.assert_allclose(found.lat, expected.lat, atol=1e-9)
    np.testing.assert_array_equal(found.t2m, expected.t2m)
    xr.testing.assert_identical(restore(found, origin), radian)
    metres, origin = canonicalize(field(1e6 + COUNT, 2e6 + COUNT, ("lat", "lon"), ("m", "km")))
    assert metres.t2m.dims == ("time", "y", "x")
    assert origin.names == {"y": "lat", "x": "lon"}
    with pytest.raises(GridError, match="coordinate 'lat' is in 'K'; expected degrees or radian"):
        canonicalize(field(COUNT, COUNT, ("lat", "lon"), ("K", "degrees_east")))
    with pytest.raises(GridError, match="coordinate 'lon' is in 'm'; expected degrees or radian"):
        canonicalize(field(COUNT, COUNT, ("lat", "lon"), ("degrees", "m")))
    assert canonicalize(field(COUNT, COUNT, ("lat", "lon"), ("Degrees", "decimal degrees")), GridSpec())[
        0
    ].sizes
