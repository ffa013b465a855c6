"""Every shipped recipe is well formed; malformed ones are refused with the place."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray as xr

from stconv.datasets.recipes.fetch import fetch
from stconv.datasets.recipes.recipe import list_recipes, load_recipe
from stconv.datasets.source.grid import GridSpec, open_series
from stconv.datasets.source.time_axis import time_step
from stconv.errors import FileError, RecipeError, TimeAxisError

GOOD = """
title: A
license: B
citation: C
files:
  - {url: "http://host/a.nc", path: a.nc, sha256: %s}
""" % ("a" * 64)


def test_there_are_recipes():
    assert "ncep_air_temperature" in list_recipes()


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_is_complete(name):
    recipe = load_recipe(name)
    assert recipe.title
    assert recipe.license
    assert recipe.citation
    assert recipe.variables
    assert recipe.open
    for file in recipe.files:
        if file.url.startswith("https://zenodo.org/record/3558773/"):
            assert file.sha256 == "", "no hash is published: pinned on the first download"
            assert "pinned" in recipe.description
            continue
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", file.url), (
            "a fixed version"
        )


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_opens_from_the_mirror(name, shared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(shared_data / "benchmark"))
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    recipe = load_recipe(name)
    if any(not file.sha256 for file in recipe.files):
        pytest.skip("not among the real data at hand; tested on a made file")
    ds, _ = open_series(fetch(name, progress=False)[:12], recipe.grid, list(recipe.variables))
    assert list(ds.data_vars) == list(recipe.variables)
    assert ds.sizes["time"] >= 12
    assert ds[next(iter(recipe.variables))].shape[-2:] == recipe.cells


def test_a_recipe_of_ones_own(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(GOOD + "grid: {select: {level: 500}}\n")
    recipe = load_recipe(str(file))
    assert (recipe.name, recipe.open, recipe.grid) == ("own", ("a.nc",), GridSpec(select={"level": 500}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected to be a mapping, found list"),
        ("a: [\n", "not valid YAML"),
        (GOOD + "tilte: x\n", r"unknown key\(s\) tilte; known are cells, citation"),
        (GOOD.replace("license: B\n", ""), r"missing key\(s\) license"),
        (GOOD.replace("sha256", "md5"), r"file 0: unknown key\(s\) md5"),
        (GOOD.replace("a" * 64, "12"), "a sha256 of 64 digits, found sha256 '12'"),
        (GOOD.replace("path: a.nc", "path: ../a.nc"), "a relative path"),
        (GOOD.replace(", sha256: " + "a" * 64, ""), "either `sha256` or `tree`"),
        (GOOD + "cells: [25]\n", r"cells is \[25\]; expected two counts, as in \[25, 53\]"),
        (GOOD + "cells: 0\n", "cells is 0; expected two counts"),
        (GOOD + "grid: {lattitude: y}\n", r"grid: unknown key\(s\) lattitude"),
    ],
)
def test_malformed_recipes_say_where(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(file))


def test_an_unknown_recipe_lists_the_known():
    with pytest.raises(RecipeError, match=r"No recipe 'ncep'; available: .*ncep_air_temperature"):
        load_recipe("ncep")


def test_bike_nyc_as_published_is_what_was_converted(shared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(shared_data / "benchmark"))
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    (path,) = fetch("bikenyc", progress=False)
    assert tmp_path in path.parents, "unpacked into the cache, not into the mirror"
    ds, _ = open_series(path, load_recipe("bikenyc").grid)
    assert dict(ds.sizes) == {"time": 4392, "y": 16, "x": 8}
    converted, _ = open_series(shared_data / "benchmark" / "bikenyc.nc")
    for name in ("new_flow", "end_flow"):
        np.testing.assert_array_equal(ds[name].values, converted[name].values)
    np.testing.assert_array_equal(ds.time.values, converted.time.values)


@pytest.mark.parametrize(("name", "shape", "step"), [("cfsr", (32, 32), "6h"), ("chirps", (50, 50), "1d")])
def test_windows_cut_beforehand_become_the_series_again(name, shape, step, monkeypatch, tmp_path):
    """A made file of the structure published: sample, time, lat, lon, channel; 5 steps in, 5 out."""
    series = np.random.default_rng(0).normal(size=(30, *shape, 1)).astype(np.float32)
    dims = ("sample", "time", "lat", "lon", "channel")
    x = np.stack([series[i : i + 5] for i in range(21)])
    y = np.stack([series[i + 5 : i + 10] for i in range(21)])
    lat, lon = np.arange(shape[0]) * 2.0 - 54, np.arange(shape[1]) * 2.0 + 278
    recipe = load_recipe(name)
    file = tmp_path / "mirror" / recipe.files[0].path
    file.parent.mkdir()
    xr.Dataset({"x": (dims, x), "y": (dims, y)}, {"lat": lat, "lon": lon}).to_netcdf(file)
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(file.parent))
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path / "cache"))
    ds, _ = open_series(fetch(name, progress=False), recipe.grid, list(recipe.variables))
    np.testing.assert_array_equal(ds.x.values, series[..., 0])
    assert time_step(ds.time.values).label == step
    assert str(ds.time.values[0])[:10] == recipe.grid.start
    whole = x.copy()
    x[1, 0] += 1
    xr.Dataset({"x": (dims, x), "y": (dims, y)}, {"lat": lat, "lon": lon}).to_netcdf(file)
    with pytest.raises(RecipeError, match=r"expected [0-9a-f]{64} \(pinned by the first download, in '"):
        fetch(name, progress=False)
    with pytest.raises(FileError, match="steps 2 to 5 of the first window are not steps 1 to 4"):
        open_series(file, recipe.grid)
    xr.Dataset({"x": (dims, whole), "y": (dims, y)}, {"lat": lat, "lon": lon}).to_netcdf(file)
    with pytest.raises(TimeAxisError, match=r"have no times. State `start`, such as 1979-01-01, and `step`"):
        open_series(file)
    with pytest.raises(TimeAxisError, match="start is 'yesterday'; expected a time such as 1979-01-01"):
        open_series(file, replace(recipe.grid, start="yesterday"))


def test_slots_that_are_no_hours_are_refused(tmp_path):
    data = np.zeros((3, 2, 4, 5))
    with h5py.File(tmp_path / "flows.h5", "w") as file:
        file["data"] = data
        file["date"] = np.array([b"2014040123", b"2014040124", b"2014040125"])
    with pytest.raises(FileError, match=r"hours 01 to 24, found b'2014040125' at index 2"):
        open_series(tmp_path / "flows.h5")
