"""Rules for sentences in code and pages that a program can check: "cannot", docstrings that name things."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("stconv", "service", "benchmarks", "tests")
    for path in ROOT.glob(f"{folder}/**/*.py")
    if path.name != Path(__file__).name
)
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/*"), *ROOT.glob("service/static/*")]
)
OPENING = re.compile(r"(What|Which|Where|Who|How|Is|Does|Do)\b")
ARGUMENT = re.compile(r"^ +\*{0,2}\w+: (Of |What |Which |Where |Who |How )", re.M)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def docstrings(tree: ast.AST) -> list[str]:
    owners = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [text for owner in owners if (text := ast.get_docstring(owner))]


def faults_of(source: str) -> list[str]:
    tree = ast.parse(source)
    found = ["'can not' is one word"] * bool(re.search(r"\bcan not\b", source, re.I))
    if OPENING.match(ast.get_docstring(tree) or ""):
        found.append("the docstring of the module does not name its content")
    found += [
        f"an argument is described by a clause: {match[0].strip()}"
        for text in docstrings(tree)
        for match in ARGUMENT.finditer(text)
    ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_docstrings_name_things(path):
    assert not faults_of(path.read_text())


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_pages_are_spelled_alike(path):
    if path.suffix in {".md", ".yaml", ".js", ".html"}:
        assert not re.search(r"\bcan not\b", path.read_text(), re.I)


def test_each_fault_is_found():
    source = (
        '"""What it is."""\n\ndef f(x):\n    """Do it; it can not fail.\n\n    Args:\n'
        '        x: Of the grid.\n    """\n'
    )
    assert len(faults_of(source)) == 3
    assert not faults_of(
        '"""Grids."""\n\ndef f(x):\n    """Do it.\n\n    Args:\n        x: Size of it.\n    """\n'
    )
