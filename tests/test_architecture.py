"""The import rules of ARCHITECTURE.md: the drawing and the table of libraries are read from that page."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
SOURCES = sorted([*ROOT.glob("stconv/**/*.py"), *ROOT.glob("service/**/*.py")])


@dataclass(frozen=True)
class Drawing:
    """The drawing of the layers.

    Attributes:
        part: Number of the line that names a module.
        rank: Number of the group of lines, 0 for the lowest, by part.
        drawn: Imports within a rank that the drawing allows, as pairs of packages.
        package: Package by part.
    """

    part: dict[str, int]
    rank: dict[int, int]
    drawn: set[tuple[str, str]]
    package: dict[int, str]


def read_drawing(page: str) -> Drawing:
    """Parse the first fenced block below the heading "Layers"."""
    block = re.search(r"^## Layers\n.*?^```text\n(.*?)^```", page, re.S | re.M)
    assert block, "ARCHITECTURE.md has no drawing below '## Layers'"
    text = re.sub(r"\n +", " ", block[1])  # an indented line goes on with the line before it
    part, rank, drawn, package, group = {}, {}, set(), {}, 0
    for number, line in enumerate(text.split("\n")):
        if not line.strip():
            group += 1
        elif " -> " in line:
            first, second = line.split(" -> ")
            drawn.add((first.strip(), second.strip()))
        elif not line.startswith("#"):
            name, colon, modules = line.partition(":")
            assert colon, f"the drawing has a line that is no part: {line!r}"
            rank[number], package[number] = group, name
            part.setdefault(name, number)  # the package itself, that is its __init__, is on its first line
            for module in modules.split():
                full = f"{name}.{module}"
                assert full not in part, f"the drawing names {full} twice"
                part[full] = number
    return Drawing(part, rank, drawn, package)


def read_libraries(page: str) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Parse the table of libraries: by name, where each may be imported, and whether inside functions."""
    table = re.search(r"^\| library \| only in \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", page, re.M)
    assert table, "ARCHITECTURE.md has no table '| library | only in |'"
    found = {}
    for names, places in re.findall(r"^\| ([\w, .]+) \| (.*) \|$", table[1], re.M):
        paths = tuple(re.findall(r"`([\w/.]+)`", places)) if not places.startswith("anywhere") else ("",)
        for name in names.split(", "):
            found[name] = paths, "inside functions" in places
    return found


DRAWING, LIBRARIES = read_drawing(PAGE), read_libraries(PAGE)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


@cache
def imports(path: Path, top_level_only: bool = False) -> tuple[tuple[str, int], ...]:
    """Modules that a file imports, those for types only too, with the line."""

    def walk() -> Iterator[tuple[str, int]]:
        tree = ast.parse(path.read_text())
        for node in tree.body if top_level_only else ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: write the import in full"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if full in MODULES else str(node.module), node.lineno

    return tuple(walk())


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_drawing_names_every_module_and_no_other():
    named = {module for module in DRAWING.part if module not in DRAWING.package.values()}
    packages = {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    assert set(MODULES) - packages == named, "ARCHITECTURE.md and the code name different modules"
    bare = {
        p
        for p in packages - set(DRAWING.part)
        if (ROOT / p.replace(".", "/") / "__init__.py").read_text().count("\n") > 3
    }
    assert not bare, f"the drawing does not name the packages {sorted(bare)}, which hold code"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_imports_follow_the_drawing(path):
    me = module_of(path)
    mine = DRAWING.part.get(me)
    if mine is None or me == "stconv":
        return
    for module, line in imports(path):
        if module not in MODULES or module == "stconv" or module not in DRAWING.part:
            continue
        theirs = DRAWING.part[module]
        if mine == theirs:
            continue
        here = f"{ids(path)}:{line}"
        pair = DRAWING.package[mine], DRAWING.package[theirs]
        allowed = DRAWING.rank[theirs] < DRAWING.rank[mine] or (
            DRAWING.rank[theirs] == DRAWING.rank[mine] and pair in DRAWING.drawn
        )
        assert allowed, f"{here}: {pair[0]} may not import {module}; ARCHITECTURE.md draws it otherwise"


COMMANDS = sorted(ROOT.glob("stconv/cli/*.py"))
BESIDE_THE_FRONT_DOOR = {
    "stconv.cli.main": {"stconv.models.outside"},  # `--import MODULE`; in Python it is an import statement
    "stconv.cli.key": {"service.api_keys"},  # keys belong to the service; the front door knows no HTTP
    "stconv.cli.serve": {"service.launch"},  # the service in this process; `stconv.serve` starts this command
}


@pytest.mark.parametrize("path", COMMANDS, ids=ids)
def test_a_command_calls_the_front_door_alone(path):
    me, ground = module_of(path), DRAWING.rank[DRAWING.part["stconv.digits"]]
    for module, line in imports(path):
        if module.split(".")[0] not in {"stconv", "service"}:
            continue
        allowed = (
            module in {"stconv", *BESIDE_THE_FRONT_DOOR.get(me, ())}
            or module.startswith(("stconv.cli.", "stconv.front."))
            or (module.startswith("stconv.") and DRAWING.rank[DRAWING.part[module]] <= ground)
        )
        assert allowed, f"{ids(path)}:{line}: a command calls stconv.front, not {module}"


def test_no_circle_between_files():
    graph = {
        module: {m for m, _ in imports(path) if m in MODULES and m != module}
        for module, path in MODULES.items()
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' -> '.join([*way[way.index(module) :], module])}"
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            visit(other, (*way, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_libraries_stay_where_they_belong(path):
    for module, line in imports(path):
        paths, _ = LIBRARIES.get(module.split(".")[0], (("",), False))
        assert any(ids(path).startswith(place) for place in paths), (
            f"{ids(path)}:{line}: {module} only in {', '.join(paths)}"
        )
        assert module.split(".")[0] != "lightning", f"{ids(path)}:{line}: import pytorch_lightning instead"
    for module, line in imports(path, top_level_only=True):
        _, inside = LIBRARIES.get(module.split(".")[0], ((), False))
        assert not inside, f"{ids(path)}:{line}: import {module} inside the function"


def test_the_table_of_libraries_is_read():
    assert {"mlflow", "fastapi", "pytorch_lightning", "matplotlib", "openvino"} <= set(LIBRARIES)
    assert LIBRARIES["mlflow"] == (("stconv/tracking/",), True)
    assert not LIBRARIES["fastapi"][1]


def test_a_wrong_import_and_an_unknown_module_are_found():
    drawing = read_drawing(
        "## Layers\n\n```text\na: low\n\nb: mid\n   more\nc: side\nc -> b\n\n# top\nb: high\n```\n"
    )
    assert drawing.rank[drawing.part["b.more"]] == 1
    assert drawing.rank[drawing.part["b.high"]] == 2
    assert drawing.drawn == {("c", "b")}
    with pytest.raises(AssertionError, match=r"names a\.low twice"):
        read_drawing("## Layers\n```text\na: low low\n```\n")


def test_windows_are_integers_only():
    found = {m.split(".")[0] for m, _ in imports(ROOT / "stconv/datasets/series/windows.py")}
    assert found <= {"__future__", "stconv"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_drawer_for_odds_and_ends(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


def test_no_path_of_one_machine():
    tracked = [
        *SOURCES,
        *ROOT.glob("*.md"),
        *ROOT.glob("configs/*"),
        *ROOT.glob("data/recipes/*"),
        *ROOT.glob("tests/*.py"),
    ]
    pattern = re.compile(r"(?<![\w.-])/(work|root|home)/\w")
    for path in tracked:
        if path.is_file() and path != Path(__file__):
            assert not pattern.search(path.read_text()), path
