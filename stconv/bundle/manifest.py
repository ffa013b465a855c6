"""A folder of files that is written whole or not at all, and whose changes are noticed.

`manifest.json` holds the size and sha256 of every other file; the sha256 of the manifest is the hash of the
bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stconv.errors import BundleError

MANIFEST = "manifest.json"
LEFT_BY_OTHERS = frozenset({"registered_model_meta"})
"""MLflow adds this file to downloads from its registry. It is never read here."""


def manifest_bytes(files: Mapping[str, bytes]) -> bytes:
    """Describe the files: sorted names, each with its size in bytes and its sha256."""
    entries = {name: {"bytes": len(files[name]), "sha256": _sha256(files[name])} for name in sorted(files)}
    return (json.dumps({"files": entries}, indent=2, sort_keys=True) + "\n").encode()


def bundle_hash(manifest: bytes) -> str:
    """Return the sha256 of a manifest, in hexadecimal; it changes with any byte of any file."""
    return _sha256(manifest)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write files and manifest in one step: a reader sees the old folder or the new one, never a part.

    Args:
        folder: Folder to write; an existing bundle is replaced.
        files: Contents by plain file name.

    Returns:
        The bundle hash.

    Raises:
        BundleError: The folder exists and is not a bundle.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise BundleError(
            f"'{folder}' exists and is not a bundle (it has no {MANIFEST}). Name another folder, or "
            "remove it."
        )
    manifest = manifest_bytes(files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        for name, content in {**files, MANIFEST: manifest}.items():
            (fresh / name).write_bytes(content)
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return bundle_hash(manifest)


def read_folder(folder: Path, required: tuple[str, ...]) -> tuple[dict[str, bytes], str]:
    """Read every file once, and check the bytes that are returned against the manifest.

    Returns:
        Contents by file name, and the bundle hash.

    Raises:
        BundleError: The folder or a file is missing, a file has another hash or is not in the manifest, or
            a name points outside of the folder.
    """
    if not folder.is_dir():
        raise BundleError(
            f"No bundle at '{folder}': expected a folder with {', '.join((MANIFEST, *required))}. Check "
            "the path, or name a model as models:/NAME@champion."
        )
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"'{folder}' is not a bundle: it has no {MANIFEST}. Was it copied completely?")
    manifest = (folder / MANIFEST).read_bytes()
    entries = _entries(manifest, folder)
    for name in required:
        if name not in entries:
            raise BundleError(
                f"{MANIFEST} of '{folder}' does not list {name}; expected {', '.join(required)}."
            )
    for path in sorted(folder.iterdir()):
        if path.name not in entries and path.name not in {MANIFEST, *LEFT_BY_OTHERS}:
            raise BundleError(
                f"'{folder}' holds '{path.name}', which its {MANIFEST} does not list. Remove it, or fetch "
                "the bundle again."
            )
    return {name: _read(folder / name, entry) for name, entry in entries.items()}, bundle_hash(manifest)


def _entries(manifest: bytes, folder: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(manifest)["files"]
        names = {str(name): str(entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{MANIFEST} of '{folder}' is not readable as a manifest ({error}). Fetch the bundle again."
        ) from error
    for name in names:
        if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
            raise BundleError(
                f"{MANIFEST} of '{folder}' lists the unsafe path '{name}'; expected plain file names. Do "
                "not use it."
            )
    return dict(entries)


def _read(path: Path, entry: Mapping[str, Any]) -> bytes:
    if path.is_symlink():
        raise BundleError(f"'{path}' is a link; a bundle holds plain files only. Fetch the bundle again.")
    if not path.is_file():
        raise BundleError(
            f"The bundle '{path.parent}' lacks {path.name}, which its {MANIFEST} lists. Copy it completely."
        )
    content = path.read_bytes()
    found = _sha256(content)
    if found != entry["sha256"]:
        raise BundleError(
            f"{path.name} in '{path.parent}' is not what the {MANIFEST} says: expected sha256 "
            f"{entry['sha256']}, found {found}. The file was changed or damaged; fetch the bundle again."
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
