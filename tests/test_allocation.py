"""Memory that is freed is used again: the pages that the system has to give, counted by the system."""

import platform
import subprocess
import sys

import pytest

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


def printed(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
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
