"""`stconv doctor`: each fault and warning is found, with a remedy; nothing is changed by looking."""

import collections
import json
import os
import time

import pytest
import torch

from stconv import containers
from stconv.cli.main import main
from stconv.diagnosis import Finding, State, machine, stores, versions
from stconv.tracking import RunLogger

GIBIBYTE = 2**30


def only(findings):
    (finding,) = findings
    return finding


@pytest.fixture
def installed(monkeypatch):
    """Versions of distributions that a test sets."""
    found = {}
    monkeypatch.setattr(versions, "installed", found.get)
    return found


def test_versions_that_fit_are_well(installed):
    installed |= {"numpy": "2.3.1", "torch": "2.13.0+cpu"}
    finding = only(versions.check_versions(["numpy>=2.0", "torch>=2.10", "optuna>=4; extra == 'sweep'"]))
    assert finding.state == State.OK
    assert "2 libraries have the versions that stconv needs" in finding.found


def test_an_absent_library_an_old_one_and_a_hole_are_faults(installed):
    installed |= {"numpy": "1.26.4", "torch": "2.9.1"}
    assert list(versions.check_versions(["numpy>=2.0", "torch>=2.10", "dask[array]>=2025.1"])) == [
        Finding(
            "versions", State.FAULT, "numpy 1.26.4 is installed; expected >=2.0.", "pip install 'numpy>=2.0'"
        ),
        Finding(
            "versions",
            State.FAULT,
            "torch 2.9.1 is installed; expected >=2.10, below which there is a hole (CVE-2026-24747).",
            "pip install 'torch>=2.10'",
        ),
        Finding(
            "versions",
            State.FAULT,
            "dask is not installed; expected >=2025.1.",
            "pip install 'dask>=2025.1'",
        ),
    ]


@pytest.mark.parametrize(("release", "fault"), [("2.6.3", True), ("2.6.1", False)])
def test_a_malicious_release_is_a_fault(installed, release, fault):
    installed["lightning"] = release
    finding = only(versions.check_versions([]))
    assert (finding.state == State.FAULT) == fault
    assert ("malicious" in finding.found) == fault


def test_the_requirements_of_this_installation_are_met():
    assert only(versions.check_versions()).state == State.OK


@pytest.mark.parametrize(
    ("threads", "load", "states", "text"),
    [
        ("", 0.1, ["ok"], "3 of 8 cores may be used, 3 thread(s)."),
        ("2", 0.1, ["ok"], "3 of 8 cores may be used, 2 thread(s)."),
        ("8", 0.1, ["warning"], "threads wait for one another"),
        ("many", 0.1, ["warning"], "OMP_NUM_THREADS is 'many'"),
        ("", 20.0, ["ok", "warning"], "20 processes compete for 8 cores"),
    ],
)
def test_threads_are_compared_with_the_cores(monkeypatch, threads, load, states, text):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(machine, "available_cores", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0), raising=False)
    findings = list(machine.check_processor())
    assert [finding.state for finding in findings] == states
    assert text in findings[-1].found


@pytest.mark.parametrize(
    ("free", "limit", "state"),
    [(8, None, "ok"), (1, None, "warning"), (8, 1 * GIBIBYTE, "warning"), (8, 4 * GIBIBYTE, "ok")],
)
def test_memory_is_that_of_the_container(tmp_path, monkeypatch, free, limit, state):
    monkeypatch.setattr(machine, "memory_limit", lambda: limit)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:   99999999 kB\nMemAvailable:   {free * 2**20} kB\n")
    finding = only(machine.check_memory(meminfo=meminfo))
    assert finding.state == state
    assert f"{free}.0 GiB are free" in finding.found
    assert bool(finding.remedy) == (state != "ok")


def test_memory_of_another_system_is_not_known(tmp_path):
    assert "not known" in only(machine.check_memory(meminfo=tmp_path / "absent")).found


@pytest.mark.parametrize(
    ("cgroup", "file", "text", "limit"),
    [
        ("0::/a\n", "sys/fs/cgroup/a/memory.max", "1073741824\n", GIBIBYTE),
        ("0::/a\n", "sys/fs/cgroup/a/memory.max", "max\n", None),
        ("9:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n", GIBIBYTE),
        ("9:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n", None),
    ],
)
def test_the_limit_of_memory_is_read_from_both_versions_of_control_groups(
    tmp_path, cgroup, file, text, limit
):
    for name, content in (("proc/self/cgroup", cgroup), (file, text)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert containers.memory_limit(tmp_path) == limit


@pytest.mark.parametrize(("free", "state"), [(1, "warning"), (50, "ok")])
def test_a_full_disk_is_warned_of(tmp_path, monkeypatch, free, state):
    usage = collections.namedtuple("usage", "total used free")(0, 0, free * GIBIBYTE)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    finding = only(machine.check_disks({"the cache": tmp_path / "not" / "made"}))
    assert finding.state == state
    assert f"{free}.0 GiB are free for the cache" in finding.found
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    finding = only(machine.check_disks({"the cache": tmp_path}))
    assert (finding.state, finding.remedy) == (State.FAULT, "Choose another folder by STCONV_CACHE.")
    assert "cannot be written: Permission denied." in finding.found


@pytest.mark.parametrize(
    ("devices", "seen", "state", "text"),
    [
        ([], False, "ok", "No GPU"),
        (["nvidia0", "nvidiactl"], False, "warning", "The system has 1 NVIDIA GPU(s), which torch"),
        (["nvidia0"], True, "ok", "uses H100"),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_warned_of(tmp_path, monkeypatch, devices, seen, state, text):
    for name in devices:
        (tmp_path / name).touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "H100")
    finding = only(machine.check_gpu(tmp_path))
    assert finding.state == state
    assert text in finding.found


@pytest.mark.parametrize(("ahead", "state"), [(0.0, "ok"), (60.0, "warning"), (-60.0, "warning")])
def test_a_clock_that_differs_from_the_disk_is_warned_of(monkeypatch, ahead, state):
    now = time.time
    monkeypatch.setattr(machine.time, "time", lambda: now() + ahead)
    assert only(machine.check_clock()).state == state


def test_a_store_that_does_not_exist_is_not_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    finding = only(stores.check_tracking())
    assert (finding.state, finding.found) == (
        State.OK,
        "sqlite:///mlflow.db does not exist yet; the first run makes it.",
    )
    assert not list(tmp_path.iterdir())


def test_a_server_that_does_not_answer_is_a_fault_and_no_password_is_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    finding = only(stores.check_tracking())
    assert finding.state == State.FAULT
    assert finding.found.startswith("Could not list the experiments at http://user:***@127.0.0.1:9")
    assert "Check that the server runs" in finding.remedy
    assert "secret" not in finding.found + finding.remedy


def test_the_command_prints_findings_and_ends_with_1_for_a_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///made.db")
    RunLogger("made").start()
    assert main(["doctor"]) == 0
    assert "sqlite:///made.db answers: 2 experiments, 0 registered models." in capsys.readouterr().out
    monkeypatch.setattr(machine, "LEAST_DISK", 2**80)
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {one["state"] for one in findings if one["check"] == "disk"} == {"warning"}
    monkeypatch.setattr(versions, "installed", lambda name: None)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "fault    versions   numpy is not installed; expected >=2.0." in printed
    assert "pip install 'numpy>=2.0'" in printed
