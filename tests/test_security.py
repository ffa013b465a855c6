"""SECURITY.md names tests: they exist, run everywhere, and check the statuses and settings that it names."""

import re
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def rows():
    """Danger, defense, test."""
    lines = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    found = [line for line in lines if not line.endswith("| test |")]
    assert len(found) > 40
    return found


def test_a_status_that_security_promises_is_expected_by_a_test_it_names():
    for row in rows():
        _, danger, defense, tests, _ = row.split("|")
        text = "".join((ROOT / "tests" / name).read_text() for name in re.findall(r"test_\w+\.py", tests))
        for status in re.findall(r"(?<![\d,.])([45]\d\d)(?![\d,.]\d|\d)", defense):
            assert status in text, f"{danger}: no test named there expects {status}"


def test_settings_that_security_names_are_settings():
    names = re.findall(r"`STCONV_SERVE_([A-Z_]+)`", (ROOT / "SECURITY.md").read_text())
    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_every_test_that_security_names_exists():
    for row in rows():
        tests = re.findall(r"`(test_\w+)\.py(?:::(\w+))?`", row.rsplit("|", 2)[1])
        assert tests, f"no test: {row}"
        for file, name in tests:
            path = ROOT / "tests" / f"{file}.py"
            assert path.is_file(), f"{path.name} of: {row}"
            assert not name or f"def {name}(" in path.read_text(), f"{name} of: {row}"
