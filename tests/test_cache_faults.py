"""Faults of the machine under the cache: a real kill, a full disk, sources that change or break."""

import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.cache import cached
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.errors import FileError, GridError
from waiting import until

SHAPE = (40, 1, 8, 8)
EDGES = [*range(0, 41, 4)]
VALUES = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

CHILD = """
import sys
from pathlib import Path
import numpy as np
from stconv.datasets.series.cache import cached

values = np.load(sys.argv[1])

def read(start, stop):
    if start >= 12:
        sys.stdin.read()  # until the end that never comes
    return values[start:stop]

cached(Path(sys.argv[2]), "key", values.shape, read, [*range(0, 41, 4)], progress=False)
"""


def test_a_build_that_is_killed_is_gone_on_from(tmp_path):
    """SIGKILL: nothing is cleaned up, nothing is flushed, and what was written is believed only so far."""
    np.save(tmp_path / "values.npy", VALUES)
    folder = tmp_path / "cache"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "values.npy"), str(folder)], stdin=subprocess.PIPE
    )
    progress = folder / "key.progress"

    def begun():
        assert child.poll() is None, "the child ended before it was killed"
        return json.loads(progress.read_text())["steps"] >= 8

    until(begun, ignore=(FileNotFoundError,))
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (folder / "key.json").exists()
    calls = []

    def read(start, stop):
        calls.append(start)
        return VALUES[start:stop]

    found, _ = cached(folder, "key", SHAPE, read, EDGES, progress=False)
    np.testing.assert_array_equal(found, VALUES)
    assert calls[0] >= 8
    assert calls == [*range(calls[0], 40, 4)]


def test_a_disk_that_fills_up_says_what_to_do_and_leaves_nothing(tmp_path):
    """A real limit of the kernel, on the size of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (VALUES.nbytes // 2, before[1]))
    try:
        with pytest.raises(
            FileError, match=r"cannot be cached in .* \(File too large\): it takes .*STCONV_CACHE"
        ):
            cached(tmp_path, "key", SHAPE, lambda a, b: VALUES[a:b], EDGES, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """Makes a data module whose series is cached in small blocks."""
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stconv.datasets.series.store._BYTES_AT_ONCE", 10_000)

    def make(path):
        return GridDataModule(
            SourceSettings(str(path), memory_share=0.0),
            PreparationSettings(("t2m",)),
            WindowSettings(t_in=3, leads=2),
        )

    return make


def test_a_source_that_changes_during_training_changes_nothing_until_the_next_one(tmp_path, on_disk):
    path = generate(tmp_path / "made.nc", n_steps=150, n_lat=6, n_lon=7, seed=1)
    data = on_disk(path)
    data.setup()
    first = next(iter(data.val_dataloader()))
    path.unlink()
    generate(path, n_steps=150, n_lat=6, n_lon=7, seed=2)
    again = next(iter(data.val_dataloader()))
    np.testing.assert_array_equal(first["inputs"], again["inputs"])
    later = on_disk(path)
    later.setup()
    assert later.series.content_hash != data.series.content_hash
    assert len(list((tmp_path / "cache" / "series").glob("*.f32"))) == 2


def test_a_source_that_changes_while_it_is_cached_is_refused(tmp_path, on_disk, monkeypatch):
    path = generate(tmp_path / "made.nc", n_steps=150, n_lat=6, n_lon=7)

    def build_while_it_changes(*arguments):
        found = cached(*arguments, progress=False)
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr("stconv.datasets.series.store.cached", build_while_it_changes)
    with pytest.raises(FileError, match=r"made\.nc: changed while the series was cached.*start again"):
        on_disk(path).setup()
    assert {file.suffix for file in (tmp_path / "cache" / "series").iterdir()} == {".lock"}


def test_a_broken_file_in_a_list_is_the_one_that_is_named(tmp_path):
    whole = xr.load_dataset(generate(tmp_path / "all.nc", n_steps=90, n_lat=6, n_lon=7))
    paths = [str(tmp_path / f"part{k}.nc") for k in range(3)]
    for k, path in enumerate(paths):
        whole.isel(time=slice(30 * k, 30 * k + 30)).to_netcdf(path)
    size = os.path.getsize(paths[1])
    os.truncate(paths[1], size // 2)
    with pytest.raises(FileError, match=r"part1\.nc' is damaged or truncated"):
        GridDataModule(SourceSettings(paths), PreparationSettings(("t2m",))).setup()
    whole.isel(time=slice(30, 60), lat=slice(0, 5)).to_netcdf(paths[1])
    with pytest.raises(GridError, match=r"part1\.nc' has a different grid than '.*part0\.nc'"):
        GridDataModule(SourceSettings(paths), PreparationSettings(("t2m",))).setup()
