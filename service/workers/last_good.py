"""Registered models on local disk, with the last working one as a fallback for an unreachable registry.

torch and MLflow are imported inside functions, because the server process itself does not need them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from service.wire.channel import Garbled, receive, send
from service.wire.child import begin
from service.workers.starting import start
from stconv.errors import BY_CODE, BundleError, StconvError, TrackingError

log = logging.getLogger(__name__)
REFERENCE = r"^models:/[A-Za-z0-9_][A-Za-z0-9_ .-]*(@[A-Za-z0-9_-]+|/[0-9]+)?$"
"""Pattern of a reference to a registered model in an HTTP request."""


@dataclass(frozen=True)
class Fetched:
    """A local copy of a bundle.

    Attributes:
        folder: Folder of the copy, named by its hash; the files match their manifest.
        version: Version in the registry.
        sha256: SHA-256 hash of the bundle, hexadecimal.
        instead_of_registry: Reason why the copy is used without the registry; None if the registry answered.
    """

    folder: str
    version: str
    sha256: str
    instead_of_registry: str | None = None


@dataclass(frozen=True)
class Fetch:
    """Fetch a registered model, or the model of a run; `unless` it is a registered one of this version."""

    reference: str
    cache: str
    unless: str = ""


@dataclass(frozen=True)
class Unchanged:
    """The reference means the version that is known already."""


@dataclass(frozen=True)
class NotFetched:
    """The reason, with the code of an exception of the library."""

    code: str
    detail: str


def fetch_model(reference: str, cache: Path) -> Fetched:
    """Copy a registered model's bundle below `cache`.

    Args:
        reference: `models:/NAME`, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        cache: Persistent folder for the copies.

    Returns:
        The version that the registry names; if the tracking server does not answer, the last one given to
        `keep`.

    Raises:
        TrackingError: There is no such model, or the server does not answer and no copy was kept.
        BundleError: The files do not match their manifest.
    """
    if not re.fullmatch(REFERENCE, reference):
        raise TrackingError(
            f"{reference[:100]!r} is not a reference to a registered model; expected models:/NAME, "
            "models:/NAME@ALIAS or models:/NAME/VERSION."
        )
    from stconv.tracking.registry import find_version, resolve_bundle

    try:
        found = find_version(reference)
        source = resolve_bundle(f"models:/{found.name}/{found.version}")
    except TrackingError as error:
        kept = _last_good(reference, cache) if _no_answer(error) else None
        if kept is None:
            raise
        log.warning(
            "%s: using version %s (%s), the last one that worked: %s",
            reference,
            kept.version,
            kept.sha256[:12],
            error,
        )
        return replace(kept, instead_of_registry=str(error))
    return _copied(reference, source, str(found.version), cache)


def fetch_run(reference: str, cache: Path) -> Fetched:
    """Copy the bundle of a run, `runs:/ID`, below `cache`.

    Raises:
        TrackingError: There is no such run, or it cannot be fetched.
        BundleError: The files do not match their manifest.
    """
    from stconv.tracking.registry import resolve_bundle

    return _copied(reference, resolve_bundle(reference), "", cache)


async def fetch(reference: str, cache: Path) -> Fetched:
    """Run `fetch_model` or `fetch_run` in a process that ends afterwards.

    torch and MLflow, which they load, would stay in the server's memory: 270 MB.

    Raises:
        TrackingError: As in these functions.
        BundleError: As in these functions.
    """
    found = await _apart(Fetch(reference, str(cache)))
    assert found is not None
    return found


async def fetch_if_new(reference: str, cache: Path, version: str) -> Fetched | None:
    """Fetch a registered model in a process that ends afterwards, if it has another version.

    Returns:
        The copy; None if the reference means this version.

    Raises:
        TrackingError: The registry has no such model, or it does not answer.
        BundleError: The files do not match their manifest.
    """
    found = await _apart(Fetch(reference, str(cache), unless=version))
    if found is not None and found.instead_of_registry:
        raise TrackingError(found.instead_of_registry)
    return found


async def _apart(asked: Fetch) -> Fetched | None:
    """Fetch in a process of its own, which is killed if the caller is canceled."""
    process, pipe = start("service.workers.last_good")
    with Connection(pipe.detach()) as connection:
        try:
            send(connection, asked)
            found = await asyncio.to_thread(receive, connection, Fetched | NotFetched | Unchanged)
        except (OSError, EOFError, Garbled) as error:
            raise TrackingError(
                f"The process that fetches {asked.reference} died. Is there enough memory?"
            ) from error
        finally:
            process.kill()  # its end of the pipe is closed, so that the thread returns
            process.wait()
    if isinstance(found, NotFetched):
        raise BY_CODE.get(found.code, TrackingError)(found.detail)
    return found if isinstance(found, Fetched) else None


def main() -> None:
    """Fetch one model for the server, in a process of its own."""
    with Connection(begin("stconv-fetch")) as connection:
        asked: Fetch = receive(connection, Fetch)
        try:
            send(connection, _answer(asked))
        except StconvError as error:
            send(connection, NotFetched(error.code, str(error)))


def _answer(asked: Fetch) -> Fetched | Unchanged:
    if asked.unless:
        from stconv.tracking.registry import find_version

        if str(find_version(asked.reference).version) == asked.unless:
            return Unchanged()
    wanted = fetch_run if asked.reference.startswith("runs:/") else fetch_model
    return wanted(asked.reference, Path(asked.cache))


def _copied(reference: str, source: Path, version: str, cache: Path) -> Fetched:
    from stconv.bundle import manifest
    from stconv.bundle.bundle import SPEC, WEIGHTS

    files, digest = manifest.read_folder(source, (WEIGHTS, SPEC))
    folder = cache / "bundles" / digest
    if not folder.exists() or _damaged(folder):
        try:
            manifest.write_folder(folder, files)
        except OSError as error:
            raise TrackingError(f"{reference} cannot be written to '{folder}': {error.strerror}.") from error
    return Fetched(str(folder), version, digest)


def keep(reference: str, fetched: Fetched, cache: Path) -> None:
    """Record a bundle that works, as the fallback for an unreachable tracking server."""
    note = _note(reference, cache)
    part = note.with_suffix(".part")
    try:
        part.write_text(json.dumps({**asdict(fetched), "reference": reference}) + "\n")
        os.replace(part, note)
    except OSError as error:  # the model is served nevertheless
        log.error("%s cannot be recorded as a fallback for an unreachable registry: %s", reference, error)


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
    """Whether the registry was unreachable, as opposed to having no such model."""
    cause = error.__cause__
    return cause is not None and getattr(cause, "error_code", "") != "RESOURCE_DOES_NOT_EXIST"
