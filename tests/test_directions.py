"""Directions are split into sine and cosine when read, averaged as such, and degrees again in a forecast."""

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.series.store import load_series
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.directions import degrees_of, directions_added, split_directions
from stconv.datasets.source.grid import GridSpec, canonicalize, open_series
from stconv.errors import UnitsError, VariableError


def made(n=12):
    rng = np.random.default_rng(0)
    values = ((350 + rng.normal(0, 15, (n, 3, 4))) % 360).astype("f4")
    times = np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    attrs = {"units": "degree", "standard_name": "wind_from_direction", "valid_max": np.float32(360)}
    return xr.Dataset(
        {"wdir": (("time", "lat", "lon"), values, attrs)},
        {
            "time": times,
            "lat": ("lat", np.arange(3.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(4.0), {"units": "degrees_east"}),
        },
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_components_by_hand_and_back(tmp_path, lazy, monkeypatch):
    ds = made()
    ds.wdir[2, 1, 1] = 999.0
    del ds.wdir.attrs["valid_max"]
    ds.to_netcdf(tmp_path / "a.nc")
    if lazy:
        monkeypatch.setattr("stconv.datasets.source.grid.MEMORY_BYTES", 0)
    found, _ = open_series(tmp_path / "a.nc", GridSpec(components=["wdir"]), ["wdir_sin", "wdir_cos"])
    assert found.wdir_sin.attrs["units"] == "1"
    assert np.isnan(found.wdir_sin[2, 1, 1])
    expected = np.sin(np.deg2rad(ds.wdir.values.astype("f8")))
    expected[2, 1, 1] = np.nan
    np.testing.assert_allclose(found.wdir_sin, expected, atol=1e-6)
    fields = {name: found[name].values for name in ("wdir_sin", "wdir_cos")}
    again, attributes = directions_added(fields, {name: found[name].attrs for name in fields}, ["wdir"])
    np.testing.assert_allclose(again["wdir"], ds.wdir.where(ds.wdir < 360), atol=1e-4)
    said = {"units": "degree", "standard_name": "wind_from_direction", "long_name": "wind_from_direction"}
    assert said.items() <= attributes["wdir"].items()


def test_degrees_are_below_a_full_turn():
    angles = np.array([0, -1e-12, 90, 180, -90])
    found = degrees_of(np.sin(np.deg2rad(angles)), np.cos(np.deg2rad(angles)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 0, 90, 180, 270], atol=4e-5)


def test_units_and_valid_range_of_a_direction_hold_before_it_is_split():
    ds = made()
    degrees = ds.wdir.values.astype("f8")
    turned = ds.assign(wdir=np.deg2rad(ds.wdir).assign_attrs(units="radian"))
    spec = GridSpec(components=["wdir"])
    split = split_directions(turned, spec, "a.nc")
    np.testing.assert_allclose(split.wdir_cos, np.cos(np.deg2rad(degrees)), atol=1e-6)
    some = split_directions(ds, GridSpec(components=["wdir"], valid_range={"wdir": [None, 350]}), "a.nc")
    np.testing.assert_array_equal(np.isnan(some.wdir_sin), ds.wdir > 350)
    with pytest.raises(UnitsError, match=r"'wdir' is in 'm s-1'.*expected a direction in degrees or radians"):
        split_directions(ds.assign(wdir=ds.wdir.assign_attrs(units="m s-1")), spec, "a.nc")


def test_a_dataset_in_memory_is_split_once():
    ds = made()
    spec = GridSpec(components=["wdir"])
    split = split_directions(ds, spec, "the input")
    xr.testing.assert_identical(split_directions(split, spec, "the input"), split)
    canonical, _ = canonicalize(ds, GridSpec(components=["wdir"]))
    assert list(canonical.data_vars) == ["wdir_sin", "wdir_cos"]
    with pytest.raises(VariableError, match="'wdir_sin' exists already"):
        split_directions(split.assign(wdir=ds.wdir), spec, "the input")


def test_a_direction_is_not_trained_on_as_a_number_in_silence():
    canonical, origin = canonicalize(made())
    with pytest.warns(SourceWarning, match=r"target 'wdir' is a direction.*components: \[wdir\]"):
        load_series(canonical, origin, ["wdir"])


def test_a_name_that_is_no_direction_of_the_file_or_that_of_an_axis_is_refused(tmp_path):
    made().to_netcdf(tmp_path / "a.nc")
    with pytest.raises(VariableError, match=r"no direction 'wdri' to split.*available: wdir\."):
        open_series(tmp_path / "a.nc", GridSpec(components=["wdri"]))
    pixels = made().rename(wdir="x", lat="row", lon="col").drop_vars(["row", "col"])
    pixels.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(VariableError, match="'x' has the name of an axis; the names time, y, x are reserved"):
        open_series(tmp_path / "b.nc", GridSpec(components=["x"]))
