"""Every shipped recipe is well formed; malformed ones are refused with the place."""

import re

import pytest

from stconv.datasets.fetch import fetch
from stconv.datasets.grid import GridSpec, open_series
from stconv.datasets.recipe import list_recipes, load_recipe
from stconv.errors import RecipeError

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
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", file.url), (
            "a fixed version"
        )


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_opens_from_the_mirror(name, shared_data, monkeypatch):
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(shared_data / "benchmark"))
    recipe = load_recipe(name)
    ds, _ = open_series(fetch(name, progress=False)[:12], recipe.grid, list(recipe.variables))
    assert list(ds.data_vars) == list(recipe.variables)
    assert ds.sizes["time"] >= 12


def test_a_recipe_of_ones_own(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(GOOD + "grid: {select: {level: 500}}\n")
    recipe = load_recipe(str(file))
    assert (recipe.name, recipe.open, recipe.grid) == ("own", ("a.nc",), GridSpec(select={"level": 500}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected to be a mapping, found list"),
        ("a: [\n", "no valid YAML"),
        (GOOD + "tilte: x\n", r"unknown key\(s\) tilte; known are citation"),
        (GOOD.replace("license: B\n", ""), r"missing key\(s\) license"),
        (GOOD.replace("sha256", "md5"), r"file 0: unknown key\(s\) md5"),
        (GOOD.replace("a" * 64, "12"), "a sha256 of 64 digits are expected, found sha256 '12'"),
        (GOOD.replace("path: a.nc", "path: ../a.nc"), "a relative path"),
        (GOOD.replace(", sha256: " + "a" * 64, ""), "either `sha256` or `tree`"),
        (GOOD + "grid: {lattitude: y}\n", r"grid: unknown key\(s\) lattitude"),
    ],
)
def test_malformed_recipes_say_where(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(file))


def test_an_unknown_recipe_lists_the_known():
    with pytest.raises(RecipeError, match=r"No recipe 'ncep'; there are: .*ncep_air_temperature"):
        load_recipe("ncep")
