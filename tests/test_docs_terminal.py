"""The moving terminal of the README: it shows commands of the tutorial, in one file that needs no script."""

import html
import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def terminal():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        yield importlib.import_module("terminal")


def test_the_commands_are_those_of_the_tutorial(terminal):
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    for command in terminal.COMMANDS:
        assert command.removesuffix(" &") in tutorial
    lines = [html.unescape(line) for line in re.findall(r">([^<]*)</text>", terminal.TARGET.read_text())]
    assert [line for line in lines if line in terminal.COMMANDS] == list(terminal.COMMANDS)


def test_lines_are_written_as_they_are_and_appear_one_after_the_other(terminal):
    said = [("echo '1 < 2'", ["1 < 2", "", "x" * 3]), ("true", [])]
    picture = ElementTree.fromstring(terminal.draw(said))
    texts = [text.text for text in picture.iter(TEXT)]
    assert texts == ["$", "echo '1 < 2'", "1 < 2", "xxx", "$", "true"]
    lines, total = terminal.timed(said)
    starts = [line.start for line in lines]
    assert starts == sorted(starts)
    assert total > starts[-1] + terminal.SECONDS_AT_THE_END


def test_a_long_session_scrolls_by_a_line_at_a_time(terminal):
    picture = terminal.draw([("seq 40", [str(i) for i in range(terminal.ROWS + 2)])])
    moved = re.findall(r"translateY\((-?\d+)px\)", picture.split("@keyframes scroll")[1].split("\n")[0])
    assert moved == ["-18", "-36", "-54", "-54"]  # three lines too many, of 18 pixels each


def test_a_line_is_broken_where_the_terminal_ends(terminal):
    assert terminal.folded("a" * 150) == ["a" * 100, "a" * 50]
    assert terminal.folded("") == [""]
