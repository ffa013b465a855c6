"""Series in memory: channel order, content, hash, refusals."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.series.store import channel_order, load_series
from stconv.datasets.source.blocks import block_edges
from stconv.datasets.source.grid import open_series
from stconv.errors import DataError, VariableError


def make_dataset(n_time=6, **attrs):
    generator = np.random.default_rng(0)
    dims = ("time", "lat", "lon")
    fields = {name: (dims, generator.normal(size=(n_time, 3, 4))) for name in ("a", "b", "c")}
    ds = xr.Dataset(
        fields,
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(n_time) * np.timedelta64(6, "h"),
            "lat": [10.0, 20.0, 30.0],
            "lon": [0.0, 10.0, 20.0, 30.0],
        },
    )
    ds["a"].attrs["units"] = "K"
    return ds


def test_targets_are_the_first_channels():
    ds = make_dataset()
    ds["b"][2, 1, 3] = np.nan
    series = load_series(ds.transpose("lon", "time", "lat"), None, inputs=["a", "b"], targets=["b"])
    assert series.variables == ("b", "a")
    assert series.n_targets == 1
    assert series.values.dtype == np.float32
    assert series.values.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(series.values[:, 0], ds["b"].values.astype(np.float32))
    np.testing.assert_array_equal(series.values[:, 1], ds["a"].values.astype(np.float32))
    assert series.units == {"a": "K", "b": ""}
    assert (series.step.label, series.breaks, series.calendar, series.geographic) == (
        "6h",
        (),
        "standard",
        True,
    )
    assert len(series) == 6
    np.testing.assert_allclose(series.cycles[:2, :2], [[0, 0], [0.25, 0.25 / 366]])


def test_channel_order_by_hand():
    assert channel_order(["x", "y"]) == ("x", "y")
    assert channel_order(["x", "y"], ["y"]) == ("y", "x")
    assert channel_order(["x"], ["z"]) == ("z", "x")


def test_a_gap_is_a_break():
    series = load_series(make_dataset(10).isel(time=[0, 1, 2, 5, 6, 7, 8]), None, ["a"])
    assert series.breaks == (3,)


def test_pixel_grid_without_coordinates():
    ds = make_dataset().rename(lat="y", lon="x").drop_vars(["y", "x"])
    series = load_series(ds, None, ["a"])
    assert not series.geographic
    np.testing.assert_array_equal(series.lat, [0, 1, 2])


def test_hash_follows_the_content_alone():
    ds = make_dataset()
    series = load_series(ds, None, ["a"])
    assert len(series.content_hash) == 64
    assert load_series(ds.copy(deep=True), None, ["a"]).content_hash == series.content_hash
    changed = ds.copy(deep=True)
    changed["a"][0, 0, 0] += 1e-3
    others = [
        changed,
        ds.assign_coords(lat=[10.0, 20.0, 31.0]),
        ds.assign_coords(time=ds.time + np.timedelta64(1, "h")),
    ]
    hashes = {load_series(other, None, ["a"]).content_hash for other in others}
    hashes |= {load_series(ds, None, ["b"]).content_hash, load_series(ds, None, ["a", "b"]).content_hash}
    assert len(hashes | {series.content_hash}) == 6
    in_celsius = dataclasses.replace(series, units={"a": "degC"}, content_hash="")
    assert in_celsius.content_hash != series.content_hash


def test_absent_variable_lists_those_present():
    with pytest.raises(VariableError, match=r"'rain', named as target, is absent; the data have: a, b, c"):
        load_series(make_dataset(), None, ["a"], ["rain"])
    with pytest.raises(VariableError, match="'wind', named as input, is absent"):
        load_series(make_dataset(), None, ["a", "wind"])


def test_empty_and_repeated_names_are_refused():
    with pytest.raises(VariableError, match="inputs is empty"):
        load_series(make_dataset(), None, [])
    with pytest.raises(VariableError, match=r"targets \['a', 'a'\] names a variable twice"):
        load_series(make_dataset(), None, ["a"], ["a", "a"])


def test_infinite_value_is_refused_with_its_time():
    ds = make_dataset()
    ds["a"][4, 0, 0] = np.inf
    with pytest.raises(DataError, match="'a' is infinite at time 2020-01-02T00:00:00"):
        load_series(ds, None, ["a"])


def test_real_file_is_what_xarray_reads(shared_data):
    path = shared_data / "benchmark" / "ncep_air_temperature.zarr"
    ds, origin = open_series(path, variables=["air"])
    series = load_series(ds, origin, ["air"])
    assert series.values.shape == (2920, 1, 25, 53)
    plain = xr.open_zarr(path)["air"].sortby("lat")
    np.testing.assert_allclose(series.values[::400, 0], plain[::400].values, rtol=1e-6)


def test_blocks_end_where_chunks_end():
    array = xr.DataArray(np.zeros((20, 2, 2)), dims=("time", "lat", "lon"))
    assert block_edges(array, 8) == [0, 8, 16, 20]
    assert block_edges(array.chunk(time=6), 8) == [0, 6, 12, 20]
    assert block_edges(array.chunk(time=1), 8) == [0, 8, 16, 20]
    assert block_edges(array.chunk(time=20), 8) == [0, 20]
