"""Fetching by hash: from a mirror, over HTTP, from the cache."""

import hashlib
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stconv.cache import cache_dir
from stconv.cli.main import main
from stconv.datasets.recipes.fetch import clean, fetch, find_fetched
from stconv.errors import RecipeError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder served over HTTP, and a recipe for what is in it."""
    folder = tmp_path / "published"
    (folder / "store.zarr" / "t").mkdir(parents=True)
    (folder / "a.nc").write_bytes(b"first")
    (folder / "store.zarr" / ".zgroup").write_bytes(b"{}")
    (folder / "store.zarr" / "t" / "0.0").write_bytes(b"chunk")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        f"""
title: A
license: B
citation: C
files:
  - {{url: {host}/a.nc, path: x/a.nc, sha256: {digest(b"first")}}}
  - url: {host}/store.zarr
    path: store.zarr
    tree: {{".zgroup": {digest(b"{}")}, "t/0.0": {digest(b"chunk")}}}
"""
    )
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STCONV_DATA_MIRROR", raising=False)
    yield folder, recipe
    server.shutdown()
    server.server_close()


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_download_then_cache(published, tmp_path):
    folder, recipe = published
    with pytest.raises(RecipeError, match=r"is not in .*cache/own' yet. Download it: `stconv data fetch"):
        find_fetched(str(recipe))
    paths = fetch(str(recipe), progress=False)
    cache = tmp_path / "cache" / "own"
    assert paths == [cache / "x" / "a.nc", cache / "store.zarr"]
    assert (cache / "store.zarr" / "t" / "0.0").read_bytes() == b"chunk"
    (folder / "a.nc").unlink()
    assert fetch(str(recipe), progress=False) == paths == find_fetched(str(recipe))
    (cache / "x" / "a.nc").write_bytes(b"changed")
    with pytest.raises(RecipeError, match=rf"has sha256 {digest(b'changed')}, expected {digest(b'first')}"):
        fetch(str(recipe), progress=False)


def test_a_changed_source_is_not_used(published, tmp_path):
    folder, recipe = published
    (folder / "a.nc").write_bytes(b"other")
    with pytest.raises(RecipeError, match="does not have the hash in the recipe"):
        fetch(str(recipe), progress=False)
    assert not (tmp_path / "cache" / "own" / "x" / "a.nc").exists()


def test_an_unreachable_source_names_the_way_out(published):
    folder, recipe = published
    (folder / "a.nc").unlink()
    with pytest.raises(
        RecipeError, match=r"a\.nc' cannot be downloaded \(HTTPError\).*'x/a\.nc' below a folder and set"
    ):
        fetch(str(recipe), progress=False)


def test_a_mirror_is_read_in_place(published, tmp_path, monkeypatch):
    _, recipe = published
    mirror = tmp_path / "mirror"
    monkeypatch.setenv("STCONV_DATA_MIRROR", str(mirror))
    with pytest.raises(RecipeError, match=r"lacks 3 of 3 files, first 'x/a\.nc'.*unset STCONV_DATA_MIRROR"):
        fetch(str(recipe), progress=False)
    for path, content in (
        ("x/a.nc", b"first"),
        ("store.zarr/.zgroup", b"{}"),
        ("store.zarr/t/0.0", b"chunk"),
    ):
        (mirror / path).parent.mkdir(parents=True, exist_ok=True)
        (mirror / path).write_bytes(content)
    assert fetch(str(recipe), progress=False) == [mirror / "x/a.nc", mirror / "store.zarr"]
    (mirror / "store.zarr" / "t" / "0.0").write_bytes(b"damaged")
    with pytest.raises(RecipeError, match=r"store\.zarr/t/0\.0' has sha256"):
        fetch(str(recipe), progress=False)
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("STCONV_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "stconv"


def test_an_archive_is_unpacked_and_cleaned(published, tmp_path, capsys):
    folder, recipe = published
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("inner/data.nc", b"inside")
    content = (folder / "a.zip").read_bytes()
    text = recipe.read_text().split("files:")[0]
    url = recipe.read_text().split("url: ")[1].split("/a.nc")[0]
    entry = f"files: [{{url: {url}/a.zip, path: a.zip, sha256: {digest(content)}, member: inner/data.nc}}]"
    recipe.write_text(text + entry)
    (path,) = fetch(str(recipe), progress=False)
    assert path.read_bytes() == b"inside"
    assert find_fetched(str(recipe)) == [path]
    assert main(["data", "clean", str(recipe)]) == 0
    assert "Removed 0.0 MB from" in capsys.readouterr().out
    assert not (tmp_path / "cache" / "own").exists()
    recipe.write_text(text + entry.replace("inner/", "outer/"))
    with pytest.raises(RecipeError, match=r"zip archive with 'outer/data\.nc'"):
        fetch(str(recipe), progress=False)
    recipe.write_text(text + entry.replace("inner/", "../"))
    with pytest.raises(RecipeError, match="a relative path"):
        fetch(str(recipe), progress=False)


def test_cleaning_leaves_what_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    for name in ("ersst_v5/a.nc", "series/k.f32", "thesis/final.nc"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"1234")
    assert clean() == 8
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
