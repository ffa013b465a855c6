"""What several test files share: where real data is, and a small made file."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets; a test that needs it is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STCONV_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"real data not at hand: no folder {folder} (set STCONV_SHARED_DATA)")
    return folder
