"""Memory that is freed is used again: the pages that the system has to give, counted by the system."""

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource
import numpy as np
from stconv.compute.allocation import keep_freed_memory
if {keeping}:
    assert keep_freed_memory()
def use():
    return [np.ones(5 * 2**19).sum for _ in range(4)]  # 4 x 20 MiB
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(keeping: bool) -> int:
    """Pages that the system had to give for ten times the same 80 MiB, after the first time."""
    code = PAGES.format(keeping=keeping)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again():
    """Without it the system gives all 800 MiB again: 200,000 pages of 4 KiB, fewer where they are larger."""
    kept, given_back = pages(keeping=True), pages(keeping=False)
    assert kept < 4096
    assert given_back > 20 * max(kept, 1), "the control: otherwise the test measures nothing"
