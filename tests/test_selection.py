"""Several levels of one variable as variables of their own."""

import numpy as np
import pytest
import xarray as xr

from stconv.cli.main import main
from stconv.datasets.source.grid import canonicalize, open_series, restore
from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import GridError

LEVELS = GridSpec(select={"level": [850, 500]})


@pytest.fixture
def ds():
    values = np.random.default_rng(0).normal(280, 10, (30, 3, 4, 5)).astype(np.float32)
    coords = {
        "time": np.datetime64("2001-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"),
        "level": [300.0, 500.0, 850.0],
        "lat": 40.0 + np.arange(4),
        "lon": 5.0 + np.arange(5),
    }
    fields = {
        "t": (("time", "level", "lat", "lon"), values, {"units": "K", "long_name": "temperature"}),
        "sp": (("time", "lat", "lon"), 1000 + values[:, 0], {"units": "hPa"}),
    }
    return xr.Dataset(fields, coords)


def test_each_level_becomes_a_variable(ds, tmp_path):
    ds.to_netcdf(tmp_path / "a.nc")
    found, origin = open_series(tmp_path / "a.nc", LEVELS)
    assert list(found.data_vars) == ["sp", "t_850", "t_500"]
    np.testing.assert_array_equal(found.t_850.values, ds.t.sel(level=850).values)
    np.testing.assert_array_equal(found.t_500.values, ds.t.sel(level=500).values)
    assert found.t_500.attrs == {"units": "K", "long_name": "temperature at level 500"}
    back = restore(found, origin)
    np.testing.assert_array_equal(back.t_850.values, ds.t.sel(level=850).values)
    chosen, _ = open_series(tmp_path / "a.nc", LEVELS, ["t_500", "sp"])
    assert list(chosen.data_vars) == ["t_500", "sp"]


def test_members_without_a_coordinate_are_counted(ds):
    members = ds[["t"]].drop_vars("level").rename(level="member")
    found, _ = canonicalize(members, GridSpec(select={"member": [2, 0]}))
    assert list(found.data_vars) == ["t_2", "t_0"]
    np.testing.assert_array_equal(found.t_0.values, ds.t.values[:, 0])


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"level": [500, 700]}, "'level' has no value 700; choices: 300.0, 500.0, 850.0"),
        ({"level": [500, 500]}, "expects distinct values"),
        ({"plev": [500, 850]}, r"no dimension 'plev' to select \[500, 850\] from; available: .*level"),
    ],
)
def test_levels_that_are_not_there_are_refused(ds, select, message):
    with pytest.raises(GridError, match=message):
        canonicalize(ds, GridSpec(select=select))


def test_on_the_command_line(ds, tmp_path, capsys):
    ds.to_netcdf(tmp_path / "a.nc")
    assert main(["inspect", str(tmp_path / "a.nc"), "--select", "level=500,850"]) == 0
    said = capsys.readouterr().out
    assert "t_500" in said
    assert "temperature at level 850" in said
