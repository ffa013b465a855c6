"""Variables that attributes name come along; attributes and names of any kind reach the forecast."""

import json

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.source.attributes import portable
from stconv.datasets.source.grid import Origin, canonicalize, open_series, restore
from stconv.datasets.source.named_variables import without_dangling
from stconv.errors import VariableError


def projected():
    y, x = 1e6 + 3e3 * np.arange(3), 3e3 * np.arange(4)
    mapping = {"grid_mapping": "crs: x y crs84: latitude longitude", "units": "K"}
    latitude = xr.Variable(("y", "x"), 38 + np.arange(12.0).reshape(3, 4) / 50, {"units": "degrees_north"})
    longitude = xr.Variable(("y", "x"), np.arange(12.0).reshape(3, 4) / 50, {"units": "degrees_east"})
    times = np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(6, "h")
    return xr.Dataset(
        {
            "t2m": (
                ("time", "y", "x"),
                np.ones((5, 3, 4), "f4"),
                mapping | {"cell_measures": "area: areacella"},
            ),
            "crs": ((), 0, {"grid_mapping_name": "lambert_conformal_conic"}),
            "crs84": ((), np.array(b"", "S1"), {"grid_mapping_name": "latitude_longitude"}),
            "areacella": (("y", "x"), np.full((3, 4), 9e6, "f4"), {"units": "m2"}),
            "unnamed": (("y", "x"), np.zeros((3, 4))),
            "x_bnds": (("x", "two"), np.stack([x - 1500, x + 1500], 1)),
        },
        {
            "time": times,
            "y": ("y", y, {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", x, {"units": "m", "standard_name": "projection_x_coordinate", "bounds": "x_bnds"}),
            "latitude": latitude,
            "longitude": longitude,
        },
    )


def through_text(origin):
    return Origin.from_json(json.loads(json.dumps(origin.to_json())))


def test_all_variables_that_attributes_name_come_back():
    ds = projected()
    canonical, origin = canonicalize(ds, variables=["t2m"])
    restored = restore(canonical, through_text(origin))
    for name in ("crs", "crs84", "areacella", "x_bnds"):
        xr.testing.assert_identical(restored[name].variable, ds[name].variable)
    assert "unnamed" not in restored
    assert restored.t2m.attrs["grid_mapping"] == ds.t2m.attrs["grid_mapping"]


def test_what_does_not_come_along_is_not_named_either():
    ds = projected().assign(quality=(("time", "y", "x"), np.ones((5, 3, 4), "i1")))
    ds.t2m.attrs["ancillary_variables"] = "quality areacella"
    canonical, origin = canonicalize(ds, variables=["t2m"])
    assert restore(canonical, origin).t2m.attrs["ancillary_variables"] == "areacella"
    assert without_dangling({"bounds": "b", "units": "K"}, ["t"]) == {"units": "K"}
    assert without_dangling({"cell_measures": "area: a"}, ["a"]) == {"cell_measures": "area: a"}


ODD = {
    "object": {"min": 30.0, "deep": [{"a": None}]},
    "nothing": None,
    "yes": True,
    "numpy_yes": np.array([True, False]),
    "lists": [[1, 2], [3, 4]],
    "mixed": [1, "a"],
    "numbers": np.array([1.5, 2.5]),
    "text": "K",
    "texts": ["a", "b"],
    "array": {"array": 1},
    "bytes": b"abc",
    "empty": [],
}


def test_attributes_of_any_type_pass_through_the_bundle():
    ds = projected()
    ds.attrs |= ODD
    ds.t2m.attrs |= ODD
    ds.x.attrs |= ODD
    canonical, origin = canonicalize(ds, variables=["t2m"])
    for attrs in (
        (restored := restore(canonical, through_text(origin))).attrs,
        restored.t2m.attrs,
        restored.x.attrs,
    ):
        assert attrs["object"] == ODD["object"]
        assert attrs["array"] == ODD["array"]
        assert attrs["yes"] is True
        assert attrs["lists"] == ODD["lists"]
        np.testing.assert_array_equal(attrs["numbers"], ODD["numbers"])


def test_attributes_of_any_type_can_be_written(tmp_path):
    odd = {"huge": 2**70, "huges": [1, 2**70], "unsigned": 2**63 + 1, "half_a_pair": "a\udcff"}
    odd |= {"half": np.float16(0.5), "long": np.longdouble(2), "halves": np.ones(2, np.float16)}
    said = portable(ODD | odd | {"_Netcdf4Dimid": 3, "_NCProperties": "x"})
    xr.Dataset({"a": ("x", [1.0], said)}, attrs=said).to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "a.nc") as read:
        assert json.loads(read.attrs["object"]) == ODD["object"]
        assert json.loads(read.a.attrs["lists"]) == ODD["lists"]
        assert read.attrs["yes"] == "true"
        assert read.attrs["texts"] == ["a", "b"]
        assert (read.attrs["half"], read.attrs["long"], read.attrs["huge"]) == (0.5, 2.0, str(2**70))
        assert read.attrs["unsigned"] == 2**63 + 1
        assert read.attrs["half_a_pair"] == "a" + 3 * "\ufffd"
        assert "nothing" not in read.attrs
        np.testing.assert_array_equal(read.attrs["numbers"], [1.5, 2.5])
    xr.Dataset({"a": ("x", [1.0], said)}, attrs=said).to_zarr(tmp_path / "a.zarr", zarr_format=2)


@pytest.mark.parametrize("version", [2, 3])
def test_attributes_that_are_read_as_text_may_be_anything(tmp_path, version):
    ds = projected().drop_vars("crs84")
    for key in ("units", "bounds", "standard_name", "calendar", "grid_mapping", "long_name"):
        ds.x.attrs[key] = {"a": 1}
        ds.areacella.attrs[key] = None
        ds.unnamed.attrs[key] = ["a", "b"]
    ds.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False)
    canonical, _ = open_series(tmp_path / "a.zarr", variables=["t2m"])
    assert canonical.t2m.shape == (5, 3, 4)


def test_a_field_with_the_name_of_an_axis_is_refused_with_the_names_that_are_taken():
    ds = projected().rename(t2m="field", x="col", y="row").rename(field="x")
    ds = ds.drop_vars(["row", "col", "latitude", "longitude", "x_bnds"])
    ds.x.attrs = {"units": "K"}
    with pytest.raises(
        VariableError, match="variable 'x' has the name of an axis; the names time, y, x are reserved"
    ):
        canonicalize(ds, variables=["x"])


@pytest.mark.parametrize("name", ["x", "y", "lead", "forecast_reference_time"])
def test_on_a_geographic_grid_other_names_are_free(name):
    times = np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(6, "h")
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), np.random.default_rng(0).random((5, 3, 4), "f4"), {"units": "K"})},
        {
            "time": times,
            "lat": ("lat", [1.0, 2.0, 3.0], {"units": "degrees_north"}),
            "lon": ("lon", [1.0, 2.0, 3.0, 4.0], {"units": "degrees_east"}),
        },
    )
    canonical, origin = canonicalize(ds)
    xr.testing.assert_identical(restore(canonical, through_text(origin)), ds)
