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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again():
    code = PAGES.format(keeping=True)
    pages = int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    )
    assert pages < 4096, "of those of ten times 80 MiB"
