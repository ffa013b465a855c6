"""Hindcasts on processes of Dask, which are killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import xarray as xr

import stconv
from small_hindcast import fields, save_bundle, slow_store
from stconv.errors import FileError
from stconv.hindcasts.store import Store
from waiting import until

pytestmark = pytest.mark.slow
N = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a bundle, an archive, and a module that makes workers slow."""
    folder = tmp_path_factory.mktemp("hindcast")
    save_bundle(folder / "bundle")
    fields(N).to_netcdf(folder / "air.nc")
    (folder / "slowly.py").write_text(slow_store(0.5))
    return folder


@pytest.fixture(scope="module")
def complete(folder) -> xr.Dataset:
    """The forecasts of an uninterrupted run in one process."""
    with stconv.hindcast(
        folder / "bundle", folder / "air.nc", folder / "complete.zarr", workers=0, progress=False
    ) as found:
        return found.load()


@pytest.fixture
def command(folder, tmp_path):
    """Start `stconv hindcast` in a process of its own, and return it with its store."""
    started: list[psutil.Process] = []

    def start(*words: str, log: str = "log") -> subprocess.Popen[bytes]:
        arguments = [
            "--model",
            folder / "bundle",
            "--input",
            folder / "air.nc",
            "--output",
            tmp_path / "h.zarr",
        ]
        line = [sys.executable, "-m", "stconv", "hindcast", *map(str, arguments), *words]
        with Path(tmp_path, log).open("wb") as output:
            process = subprocess.Popen(line, stdout=output, stderr=output)
        started.append(psutil.Process(process.pid))
        return process

    yield start
    for process in started:
        if process.is_running():
            for child in process.children(recursive=True):
                child.kill()
            process.kill()


def some_chunk(path: Path) -> bool:
    """Whether a first chunk is complete."""
    return bool(Store(path).status().any())


def begun(process: subprocess.Popen[bytes], path: Path) -> list[psutil.Process]:
    """Wait for a first chunk, and return the workers."""

    def found() -> bool:
        assert process.poll() is None, path.with_name("log").read_text()
        return some_chunk(path)

    until(found, ignore=(FileError,))
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def check(path: Path, complete: xr.Dataset) -> None:
    assert Store(path).open_chunks() == []
    with xr.open_zarr(path) as found:
        xr.testing.assert_allclose(found.load(), complete, rtol=1e-6)  # batches may differ
    assert not list(path.rglob("*.partial"))


def test_a_killed_worker_is_replaced(command, folder, complete, tmp_path):
    process = command("--workers", "2", "--import", str(folder / "slowly.py"))
    workers = begun(process, tmp_path / "h.zarr")
    assert len(workers) == 2
    workers[0].kill()
    assert process.wait(300) == 0, (tmp_path / "log").read_text()
    check(tmp_path / "h.zarr", complete)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_leaves_no_process_and_goes_on(command, folder, complete, tmp_path, number):
    path = tmp_path / "h.zarr"
    process = command("--workers", "2", "--import", str(folder / "slowly.py"))
    workers = begun(process, path)
    os.kill(process.pid, number)
    assert process.wait(300) == (130 if number == signal.SIGINT else -number)
    until(lambda: not any(worker.is_running() for worker in workers))
    left = Store(path).open_chunks()
    assert left
    again = command("--workers", "2", log="again")
    assert again.wait(300) == 0
    said = (tmp_path / "again").read_text()
    n_left = sum(min(Store(path).per_chunk, N - 2 - i * Store(path).per_chunk) for i in left)
    assert f"{n_left} made now" in said
    check(path, complete)


def test_a_killed_scheduler_is_said_and_another_one_goes_on(command, folder, complete, tmp_path):
    path, processes = tmp_path / "h.zarr", []

    def dask(*words: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        with (tmp_path / words[0]).open("ab") as log:
            processes.append(subprocess.Popen(line, stdout=log, stderr=log))
        return processes[-1]

    def cluster(name: str) -> tuple[str, subprocess.Popen[bytes]]:
        file = tmp_path / name
        quiet = ["--no-dashboard", "--scheduler-file", str(file)]
        scheduler = dask("scheduler", "--port", "0", "--host", "127.0.0.1", *quiet)
        until(file.exists)
        dask(
            "worker",
            "--scheduler-file",
            str(file),
            "--nthreads",
            "1",
            "--no-dashboard",
            "--death-timeout",
            "5",
        )
        import json

        address = until(lambda: json.loads(file.read_text())["address"], ignore=(ValueError,))
        return address, scheduler

    try:
        address, scheduler = cluster("first.json")
        process = command("--scheduler", address, "--import", str(folder / "slowly.py"))
        begun(process, path)
        scheduler.kill()
        assert process.wait(300) == 1
        said = (tmp_path / "log").read_text()
        assert "The scheduler was lost" in said
        assert "it goes on from there" in said
        address, _ = cluster("second.json")
        assert command("--scheduler", address, log="again").wait(300) == 0, (tmp_path / "again").read_text()
        check(path, complete)
    finally:
        for process in processes:
            process.kill()
            process.wait()
