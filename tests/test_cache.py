"""A series on disk: equal values, built once, resumed after an interruption, never used half-written."""

import errno
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch

from stconv.datasets.datamodule import GridDataModule
from stconv.datasets.preparation.settings import PreparationSettings
from stconv.datasets.recipes.synthetic import generate
from stconv.datasets.series.cache import available_bytes, cached, fingerprint
from stconv.datasets.series.sampling import BlockShuffle
from stconv.datasets.settings import SourceSettings, WindowSettings
from stconv.errors import FileError

SHAPE = (20, 2, 3, 4)
EDGES = [0, 6, 12, 18, 20]
VALUES = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def reader(calls, fail_at=None, error=KeyboardInterrupt):
    def read(start, stop):
        if start == fail_at:
            raise error
        calls.append((start, stop))
        return VALUES[start:stop]

    return read


def build(folder, calls, **options):
    return cached(folder, "key", SHAPE, reader(calls, **options), EDGES, progress=False)


def test_built_once_and_then_opened(tmp_path):
    calls = []
    values, digest = build(tmp_path, calls)
    np.testing.assert_array_equal(values, VALUES)
    assert calls == [(0, 6), (6, 12), (12, 18), (18, 20)]
    again, same = build(tmp_path, calls)
    np.testing.assert_array_equal(again, VALUES)
    assert (same, len(calls)) == (digest, 4)
    assert (tmp_path / "key.f32").stat().st_size == VALUES.nbytes


def test_a_killed_build_is_resumed(tmp_path):
    _, digest = build(tmp_path / "whole", [])
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, [], fail_at=12)
    assert not (tmp_path / "key.json").exists()
    with (tmp_path / "key.part").open("ab") as part:
        part.write(b"half a block")
    calls = []
    values, resumed = build(tmp_path, calls)
    assert calls == [(12, 18), (18, 20)]
    np.testing.assert_array_equal(values, VALUES)
    assert resumed == digest
    assert sorted(path.name for path in tmp_path.glob("key*")) == ["key.f32", "key.json", "key.lock"]


def test_what_does_not_fit_its_header_is_built_again(tmp_path):
    build(tmp_path, [])
    os.truncate(tmp_path / "key.f32", 100)
    calls = []
    np.testing.assert_array_equal(build(tmp_path, calls)[0], VALUES)
    assert len(calls) == 4
    (tmp_path / "key.json").write_text("{")
    build(tmp_path, calls)
    assert len(calls) == 8


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileError, match=r"cannot be cached in .*No space left.*data clean.*STCONV_CACHE"):
        build(tmp_path, [], fail_at=6, error=full)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]
    free = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    calls = []
    with pytest.raises(FileError, match=r"1\.92e-06 GB are needed, 1e-08 GB are free"):
        build(tmp_path, calls)
    assert not calls


def test_the_key_follows_files_and_settings(tmp_path):
    file = tmp_path / "a.nc"
    file.write_bytes(b"1")
    first = fingerprint([file], ("t", None))
    assert fingerprint([file], ("t", None)) == first
    assert fingerprint([file], ("q", None)) != first
    file.write_bytes(b"22")
    assert fingerprint([file], ("t", None)) != first


def test_memory_is_known():
    assert 2**20 < available_bytes() < 2**50


def test_a_series_on_disk_trains_like_one_in_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stconv.datasets.series.dataset.RESIDENT_BYTES", 10_000)
    monkeypatch.setattr("stconv.datasets.series.store._BYTES_AT_ONCE", 10_000)
    path = str(generate(tmp_path / "made.nc", n_steps=150, n_lat=6, n_lon=7))
    memory, disk = (
        GridDataModule(
            SourceSettings(path, memory_share=share),
            PreparationSettings(("t2m",), scaling="anomaly"),
            WindowSettings(t_in=3, leads=2),
        )
        for share in (1.0, 0.0)
    )
    memory.setup()
    disk.setup()
    assert (memory.series.on_disk, disk.series.on_disk) == (False, True)
    assert disk.series.content_hash == memory.series.content_hash
    for name, tensor in memory.preparation.state_dict().items():
        torch.testing.assert_close(disk.preparation.state_dict()[name], tensor)
    for ours, theirs in zip(disk.val_dataloader(), memory.val_dataloader(), strict=True):
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name])
    visited = torch.cat([batch["reference_index"] for batch in disk.train_dataloader()])
    assert sorted(visited.tolist()) == memory.references["train"]
    content = pickle.dumps(disk.val_dataloader().dataset)
    assert len(content) < disk.series.values.nbytes / 2, "a worker maps the file by itself"
    twin = pickle.loads(content)
    torch.testing.assert_close(twin[3]["inputs"], memory.val_dataloader().dataset[3]["inputs"])
    (header,) = (tmp_path / "cache" / "series").glob("*.json")
    assert json.loads(header.read_text())["shape"] == [150, 1, 6, 7]


def test_blocks_keep_reads_local_and_follow_seed_and_epoch():
    order = list(BlockShuffle(1000, seed=1, block=10, mixed=4))
    assert sorted(order) == list(range(1000))
    assert order != sorted(order)
    for first in range(0, 1000, 40):
        assert len({i // 10 for i in order[first : first + 40]}) == 4
    again = BlockShuffle(1000, seed=1, block=10, mixed=4)
    assert list(again) == order
    again.set_epoch(1)
    assert list(again) != order
