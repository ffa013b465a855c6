"""Memory that is freed is used again: the pages that the system has to give, counted by the system."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from stconv.allocation import RESTARTED, TUNABLES, joining_freed_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")

PAGES = """
import resource
import numpy as np
from stconv.allocation import keep_freed_memory
if {keeping}:
    assert keep_freed_memory(None)
def use():
    return [np.ones(n * 2**17).sum for n in (20, 20, 20, 100)]  # MiB; glibc's own limit is 32
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

RETURNED = """
import numpy as np
from stconv.allocation import keep_freed_memory
assert keep_freed_memory({kept_bytes})
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
np.ones(25 * 2**20).sum()  # 200 MiB
print(resident() - before)
"""

TRAINING = """
import ctypes
import random
from stconv.allocation import keep_freed_memory
assert keep_freed_memory(None)
libc, drawn = ctypes.CDLL(None), random.Random({seed})
libc.malloc.restype = ctypes.c_void_p
def taken(mebibytes):
    address = ctypes.c_void_p()
    assert libc.posix_memalign(ctypes.byref(address), 64, mebibytes * 2**20) == 0  # as torch does
    return address
def end_of_heap():
    libc.sbrk.restype = ctypes.c_void_p
    return libc.sbrk(0)
before, small = end_of_heap(), []
for step in range(100):
    features = []
    for layer in range(20):  # 66 MiB in all
        passing = taken(4)
        features.append(taken(4 if layer % 3 else 2))
        libc.free(passing)
        small.append(libc.malloc(drawn.choice((24, 40, 56, 72, 88))))
        if len(small) > 200:
            libc.free(ctypes.c_void_p(small.pop(drawn.randrange(len(small)))))
    while features:
        gradients = taken(4), taken(2)
        for address in (features.pop(), *gradients):
            libc.free(address)
print(end_of_heap() - before)
"""


def printed(code: str, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != TUNABLES} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environment
    )
    return int(done.stdout)


def test_freed_memory_is_used_again():
    """Without it the system gives all 800 MiB again: 200,000 pages of 4 KiB, fewer where they are larger."""
    kept, given_back = (printed(PAGES.format(keeping=keeping)) for keeping in (True, False))
    assert kept < 4096
    assert given_back > 20 * max(kept, 1), "the control: otherwise the test measures nothing"


def test_only_so_much_is_kept():
    """An array of 200 MiB goes back to the system where 50 MiB are kept, and stays where 400 are."""
    returned, stayed = (printed(RETURNED.format(kept_bytes=n * 2**20)) for n in (50, 400))
    assert returned < 60 * 2**20
    assert stayed > 190 * 2**20


def test_pieces_of_freed_memory_are_joined():
    """Arrays of 66 MiB and three passing ones, taken and freed a hundred times in the order of a training.

    Where a piece lies is chance, which also the length of the environment changes: one sequence takes from
    130 to 195 MiB where pieces are joined, from 330 to 380 where they are not. Hence the mean of eight.
    """
    joined = np.mean([printed(TRAINING.format(seed=n), **joining_freed_memory({})) for n in range(8)])
    assert joined < 200 * 2**20
    if tuple(int(part) for part in platform.libc_ver()[1].split(".")) < (2, 38):  # it joins them by itself
        apart = np.mean([printed(TRAINING.format(seed=n)) for n in range(8)])
        assert apart > 1.5 * joined, "the control: otherwise the test measures nothing"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "glibc.malloc.tcache_count=0"),
        ({TUNABLES: "glibc.malloc.hugetlb=1"}, "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0"),
        ({TUNABLES: "glibc.malloc.tcache_count=3"}, "glibc.malloc.tcache_count=3"),
    ],
)
def test_settings_of_the_user_stay(given, expected):
    assert joining_freed_memory(given | {"A": "b"}) == {"A": "b", TUNABLES: expected}


@pytest.mark.parametrize(
    ("command", "starts"),
    [
        ("forecast", ["", "glibc.malloc.tcache_count=0"]),  # trains or forecasts, hence is started anew, once
        ("inspect", [""]),
    ],
)
def test_a_command_that_computes_is_started_anew(tmp_path, command, starts):
    noted = (
        f"import os\nwith open('starts', 'a') as file:\n    print(os.getpid(), os.getenv('{TUNABLES}', ''), "
    )
    (tmp_path / "sitecustomize.py").write_text(noted + "sep=',', file=file)\n")
    environment = {k: v for k, v in os.environ.items() if k not in (TUNABLES, RESTARTED)}
    done = subprocess.run(
        [sys.executable, "-m", "stconv", command, "--help"],
        capture_output=True, check=True, text=True, cwd=tmp_path,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
    )  # fmt: skip
    assert f"usage: stconv {command}" in done.stdout
    found = [line.split(",") for line in (tmp_path / "starts").read_text().splitlines()]
    assert [settings for _, settings in found] == starts
    assert len({process for process, _ in found}) == 1
