"""A registered model, or the last one that worked where the tracking server does not answer.

torch and MLflow are imported by what fetches, and only then: the server itself has no need of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stconv.errors import BundleError, TrackingError

log = logging.getLogger(__name__)
REFERENCE = r"^models:/[A-Za-z0-9_][A-Za-z0-9_ .-]*(@[A-Za-z0-9_-]+|/[0-9]+)?$"
"""What a registered model may be called where it is named over HTTP."""


@dataclass(frozen=True)
class Fetched:
    """A bundle on this machine.

    Attributes:
        folder: Where it is, under its hash; its files fit their manifest.
        version: In the registry.
        sha256: Hash of the bundle.
        instead_of_registry: Why the registry was not asked; None if it was.
    """

    folder: str
    version: str
    sha256: str
    instead_of_registry: str | None = None


def fetch_model(reference: str, cache: Path) -> Fetched:
    """Copy a registered model's bundle below `cache`.

    Args:
        reference: `models:/NAME`, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        cache: Folder that outlives the process.

    Returns:
        What the registry names now; what `keep` was told last, if the tracking server does not answer.

    Raises:
        TrackingError: There is no such model, or no answer and nothing kept.
        BundleError: Its files do not fit their manifest.
    """
    if not re.fullmatch(REFERENCE, reference):
        raise TrackingError(
            f"{reference[:100]!r} names no registered model; expected models:/NAME, models:/NAME@ALIAS or "
            "models:/NAME/VERSION."
        )
    from stconv.bundle import manifest
    from stconv.bundle.bundle import SPEC, WEIGHTS
    from stconv.tracking.registry import find_version, resolve_bundle

    try:
        found = find_version(reference)
        source = resolve_bundle(f"models:/{found.name}/{found.version}")
    except TrackingError as error:
        kept = _last_good(reference, cache) if _no_answer(error) else None
        if kept is None:
            raise
        log.warning(
            "%s is version %s as last loaded (%s): %s", reference, kept.version, kept.sha256[:12], error
        )
        return replace(kept, instead_of_registry=str(error))
    files, digest = manifest.read_folder(source, (WEIGHTS, SPEC))
    folder = cache / "bundles" / digest
    if not folder.exists() or _damaged(folder):
        try:
            manifest.write_folder(folder, files)
        except OSError as error:
            raise TrackingError(f"{reference} cannot be written to '{folder}': {error.strerror}.") from error
    return Fetched(str(folder), str(found.version), digest)


async def fetch_apart(reference: str, cache: Path) -> Fetched:
    """As `fetch_model`, in a process of its own that takes torch and MLflow with it when it ends."""
    process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    try:
        return await asyncio.get_running_loop().run_in_executor(process, fetch_model, reference, cache)
    finally:
        process.shutdown(wait=False)


def keep(reference: str, fetched: Fetched, cache: Path) -> None:
    """Note that a bundle was loaded and works, for the day the tracking server does not answer."""
    note = _note(reference, cache)
    part = note.with_suffix(".part")
    try:
        part.write_text(json.dumps({**asdict(fetched), "reference": reference}) + "\n")
        os.replace(part, note)
    except OSError as error:  # it is served all the same
        log.error("%s is not kept for a day without its registry: %s", reference, error)


def _last_good(reference: str, cache: Path) -> Fetched | None:
    try:
        noted = json.loads(_note(reference, cache).read_text())
        kept = Fetched(noted["folder"], noted["version"], noted["sha256"])
    except (OSError, ValueError, KeyError):
        return None
    return None if _damaged(Path(kept.folder)) else kept


def _note(reference: str, cache: Path) -> Path:
    return cache / "bundles" / f"{hashlib.sha256(reference.encode()).hexdigest()[:32]}.json"


def _damaged(folder: Path) -> bool:
    from stconv.bundle import manifest
    from stconv.bundle.bundle import SPEC, WEIGHTS

    try:
        return manifest.read_folder(folder, (WEIGHTS, SPEC))[1] != folder.name
    except BundleError:
        return True


def _no_answer(error: TrackingError) -> bool:
    """Whether the registry was not reached, rather than that it knows no such model."""
    cause = error.__cause__
    return cause is not None and getattr(cause, "error_code", "") != "RESOURCE_DOES_NOT_EXIST"
