"""All checks in one list."""

from __future__ import annotations

import tempfile
from pathlib import Path

from stconv.cache import cache_dir
from stconv.diagnosis.finding import Finding
from stconv.diagnosis.machine import check_clock, check_disks, check_gpu, check_memory, check_processor
from stconv.diagnosis.stores import check_tracking
from stconv.diagnosis.versions import check_versions


def diagnose() -> list[Finding]:
    """Check versions, processor, memory, disks, GPU, tracking store, registry and clock.

    Returns:
        Findings in the order of the checks. Nothing is changed; the tracking store is asked over the network.
    """
    folders = {"runs": Path.cwd(), "the cache": cache_dir(), "temporary files": Path(tempfile.gettempdir())}
    return [
        *check_versions(),
        *check_processor(),
        *check_memory(),
        *check_disks(folders),
        *check_gpu(),
        *check_tracking(),
        *check_clock(),
    ]
