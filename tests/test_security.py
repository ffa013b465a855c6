"""SECURITY.md names tests: they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_test_that_security_names_exists():
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.endswith("| test |")]
    assert len(rows) > 40
    for row in rows:
        tests = re.findall(r"`(test_\w+)\.py(?:::(\w+))?`", row.rsplit("|", 2)[1])
        assert tests, f"no test: {row}"
        for file, name in tests:
            path = ROOT / "tests" / f"{file}.py"
            assert path.is_file(), f"{path.name} of: {row}"
            assert not name or f"def {name}(" in path.read_text(), f"{name} of: {row}"
