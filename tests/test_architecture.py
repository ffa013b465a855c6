"""The import rules of ARCHITECTURE.md, read from the import statements."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*ROOT.glob("stconv/**/*.py"), *ROOT.glob("service/**/*.py")])

# Lowest first. A part may import from its own rank or a lower one, with the exceptions below.
RANKS = {
    "errors": 0,
    "resources": 1,
    "allocation": 1,
    "dims": 1,
    "regression": 1,
    "nn": 2,
    "models": 3,
    "datasets": 3,
    "losses": 3,
    "optimizers": 3,
    "schedules": 3,
    "verification": 3,
    "bands": 4,
    "conformal": 4,
    "assessment": 4,
    "leakage": 4,
    "explain": 4,
    "task": 4,
    "tiling": 5,
    "publication": 5,
    "bundle": 5,
    "engine": 6,
    "forecast": 6,
    "tracking": 7,
    "hindcast": 7,
    "export": 6,
    "quantization": 7,
    "client": 7,
    "cli": 8,
    "__main__": 9,
}
PEERS = {"models", "datasets", "losses", "verification"}
"""Same rank, and none of them may import another."""

ONLY_IN = {
    "mlflow": {"stconv/tracking"},
    "fastapi": {"service/"},
    "uvicorn": {"service/"},
    "starlette": {"service/"},
    "pytorch_lightning": {
        "stconv/task.py",
        "stconv/datasets/datamodule.py",
        "stconv/tracking",
        "stconv/cli/",
    },
    "distributed": {"stconv/hindcast.py"},
    "openvino": {"stconv/engine.py"},
    "onnxruntime": {"stconv/quantization.py"},
}
LAZY = {"mlflow", "matplotlib", "openvino", "onnxruntime"}
"""Imported inside functions only, so that what does not need it starts fast."""


def imports(path: Path, top_level_only: bool = False) -> Iterator[tuple[str, int]]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import in full"
            if node.module == "stconv":
                yield from ((f"stconv.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module or "", node.lineno


def part(path: Path) -> str:
    inside = path.relative_to(ROOT / "stconv")
    return inside.parts[0].removesuffix(".py")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_layers(path):
    relative = ids(path)
    for module, line in imports(path):
        top = module.split(".")[0]
        if relative.startswith("stconv/"):
            assert top != "service" or relative.startswith("stconv/cli/"), (
                f"{relative}:{line}: the library does not know the service"
            )
        if top == "stconv" and relative.startswith("stconv/") and relative != "stconv/__init__.py":
            mine, theirs = part(path), module.split(".")[1] if "." in module else ""
            if theirs not in RANKS:
                assert theirs in {"", "__version__"}, (
                    f"{relative}:{line}: give '{theirs}' a rank in this test"
                )
                continue
            assert RANKS[theirs] <= RANKS[mine], f"{relative}:{line}: {mine} may not import {theirs}"
            if {mine, theirs} <= PEERS:
                assert mine == theirs, f"{relative}:{line}: {mine} and {theirs} are peers"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_libraries_stay_where_they_belong(path):
    relative = ids(path)
    for module, line in imports(path):
        allowed = ONLY_IN.get(module.split(".")[0])
        assert allowed is None or any(relative.startswith(a) for a in allowed), (
            f"{relative}:{line}: {module} only in {sorted(allowed)}"
        )
    for module, line in imports(path, top_level_only=True):
        assert module.split(".")[0] not in LAZY, f"{relative}:{line}: import {module} inside the function"
        assert module.split(".")[0] != "lightning", f"{relative}:{line}: import pytorch_lightning instead"


def test_windows_are_integers_only():
    found = {module.split(".")[0] for module, _ in imports(ROOT / "stconv/datasets/windows.py")}
    assert not found & {"xarray", "torch", "numpy", "pandas"}


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_drawer_for_odds_and_ends(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


def test_every_part_has_a_rank():
    parts = {part(p) for p in ROOT.glob("stconv/**/*.py")} - {"__init__", "__main__"}
    assert parts <= set(RANKS), (
        f"give {sorted(parts - set(RANKS))} a rank in this test and a line in ARCHITECTURE.md"
    )


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
