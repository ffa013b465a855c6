"""Threads and their way of waiting are chosen before torch is loaded, and by the quota of a container."""

import os
import subprocess
import sys

import pytest

from stconv import processor


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        # the smallest quota on the way up counts
        (
            {
                "proc/self/cgroup": "0::/pod/one\n",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/pod/one/cpu.max": "400000 100000\n",
            },
            2,
        ),
        # version 1 of control groups; -1 is no quota
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/ab\n",
                "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "500000\n",
                "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_cores_are_those_of_the_container(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processor.available_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, {"GOMP_SPINCOUNT": processor.SPINS, "OMP_NUM_THREADS": "3"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "3"}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": processor.SPINS}),
    ],
)
def test_what_the_user_has_set_stays(monkeypatch, given, chosen):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(processor, "available_cores", lambda: 3)
    environment = dict(given)
    processor.choose_threads(environment)
    assert environment == chosen


def test_nothing_is_changed_once_torch_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    environment = {}
    processor.choose_threads(environment)
    assert environment == {}


AFTER_A_COMMAND = """
import os, sys
from stconv.cli.main import main
main(["configs", "list"])
assert "torch" not in sys.modules
print(os.environ["GOMP_SPINCOUNT"])
"""


def test_a_command_chooses_before_it_loads_torch():
    environment = {name: value for name, value in os.environ.items() if name not in processor.WAITING}
    done = subprocess.run(
        [sys.executable, "-c", AFTER_A_COMMAND], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == processor.SPINS
