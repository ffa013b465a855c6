"""A recipe: the source of a public data set, its hashes, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from stconv.datasets.source.grid_spec import GridSpec
from stconv.errors import RecipeError
from stconv.resources import recipes_dir

PIN = "pin"
"""Replaces a sha256 if the source publishes none; the first download is pinned."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set.

    Attributes:
        url: Address of a fixed version.
        path: Relative path in the cache folder of the recipe, and in a mirror.
        sha256: Expected hash; empty if the source publishes none, and the first download is pinned.
        member: File inside a zip archive to unpack and open; empty for no archive.
    """

    url: str
    path: str
    sha256: str
    member: str = ""


@dataclass(frozen=True)
class Recipe:
    """A data set.

    Attributes:
        name: Short name, the stem of the YAML file.
        title: One line.
        license: Terms of use.
        citation: Publication to cite.
        files: Files to download.
        open: Paths to open, relative to the folder of the files; a Zarr store is one path.
        grid: Settings for reading the files.
        variables: Variables with a description of each.
        description: Notes on grid, period and missing values.
        cells: Number of cells along (lat, lon), known without a file; empty if not stated.
    """

    name: str
    title: str
    license: str
    citation: str
    files: tuple[RemoteFile, ...]
    open: tuple[str, ...]
    grid: GridSpec = field(default_factory=GridSpec)
    variables: dict[str, str] = field(default_factory=dict)
    description: str = ""
    cells: tuple[int, ...] = ()


def list_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in recipes_dir().glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """Read a shipped recipe by name, or any recipe by the path of its YAML file.

    Raises:
        RecipeError: The recipe is unknown or malformed; the message says where.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else recipes_dir() / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(
            f"No recipe '{name}'; available: {', '.join(list_recipes())}. Name one of them, or a YAML file."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"Recipe '{path}' is not valid YAML: {error}") from error
    return _parse(content, path)


def unpacked_path(file: RemoteFile) -> str:
    """Path of an unpacked archive member, in a folder next to the archive."""
    return f"{file.path}.unpacked/{file.member}"


def _parse(content: Any, path: Path) -> Recipe:
    """Check the keys, and expand trees to single files.

    A file entry is ``{url, path, sha256}`` (``sha256: pin`` where the source publishes none; ``member:
    NAME`` for a file inside a zip archive), or ``{url, path, tree: {RELATIVE: SHA256}}`` for a folder of
    files, which is opened as one store, or file by file with ``open: each``.
    """
    if not isinstance(content, dict):
        raise RecipeError(f"Recipe '{path}' is expected to be a mapping, found {type(content).__name__}.")
    known = {f.name for f in fields(Recipe)} - {"name", "open"}
    required = {"title", "license", "citation", "files"}
    _check_keys(content, known, required, f"Recipe '{path}'")
    files: list[RemoteFile] = []
    to_open: list[str] = []
    for i, entry in enumerate(content["files"]):
        where = f"Recipe '{path}', file {i}"
        _check_keys(entry, {"url", "path", "sha256", "tree", "open", "member"}, {"url", "path"}, where)
        if ("sha256" in entry) == ("tree" in entry):
            raise RecipeError(f"{where}: expected either `sha256` or `tree`.")
        for relative, sha256 in entry.get("tree", {"": entry.get("sha256")}).items():
            tail = f"/{relative}" if relative else ""
            known_hash = "" if sha256 == PIN else str(sha256)
            files.append(
                RemoteFile(entry["url"] + tail, entry["path"] + tail, known_hash, entry.get("member", ""))
            )
            if entry.get("open") == "each":
                to_open.append(entry["path"] + tail)
        if entry.get("open") != "each":
            to_open.append(unpacked_path(files[-1]) if "member" in entry else entry["path"])
    for file in files:
        parts = (*Path(file.path).parts, *Path(file.member).parts)
        if len(file.sha256) not in (0, 64) or "/" in parts or ".." in parts:
            raise RecipeError(
                f"Recipe '{path}', file '{file.path}': expected a relative path and a sha256 of 64 "
                f"digits, found sha256 '{file.sha256}'."
            )
    grid = content.get("grid") or {}
    _check_keys(grid, {f.name for f in fields(GridSpec)}, set(), f"Recipe '{path}', grid")
    cells = _parse_cells(content.get("cells", []), path)
    rest = {key: value for key, value in content.items() if key not in ("files", "grid", "cells")}
    return Recipe(
        name=path.stem,
        files=tuple(files),
        open=tuple(to_open),
        grid=GridSpec(**grid),
        cells=cells,
        **rest,
    )


def _parse_cells(cells: Any, path: Path) -> tuple[int, ...]:
    sizes = cells if isinstance(cells, list) else [cells]
    if len(sizes) not in (0, 2) or not all(type(size) is int and size > 0 for size in sizes):
        raise RecipeError(f"Recipe '{path}': cells is {cells!r}; expected two counts, as in [25, 53].")
    return tuple(sizes)


def _check_keys(entry: dict[str, Any], known: set[str], required: set[str], where: str) -> None:
    unknown, missing = sorted(set(entry) - known), sorted(required - set(entry))
    if unknown or missing:
        faults = [f"unknown key(s) {', '.join(unknown)}"] * bool(unknown)
        faults += [f"missing key(s) {', '.join(missing)}"] * bool(missing)
        raise RecipeError(f"{where}: {' and '.join(faults)}; known are {', '.join(sorted(known))}.")
