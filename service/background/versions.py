"""The version of each model that all servers serve: a switch of one is noted, and the others follow."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from service.sharing.alone import Sharing
from service.workers.worker import Worker
from stconv.durable import beside, put_in_place
from stconv.errors import ServiceError

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 60.0
"""Time after which a version that could not be loaded is tried again, s."""
KEPT = 10
"""Number of bundles that are kept, the last used ones."""


@dataclass(frozen=True)
class Served:
    """The version of a model that the servers serve.

    Attributes:
        sha256: Hash of the bundle.
        version: Version that the forecasts state.
    """

    sha256: str
    version: str


class Versions:
    """Notes and bundles of the versions that the servers serve; a single server has neither.

    The first server of a folder brings its own version; those that join serve what the others serve.

    Args:
        sharing: Place of the notes.
        folder: Folder of the bundles.
    """

    def __init__(self, sharing: Sharing, folder: Path) -> None:
        self._sharing, self._folder = sharing, folder
        self._switching = asyncio.Lock()

    def bundle(self, sha256: str) -> Path:
        """Return the folder of a bundle."""
        return self._folder / sha256

    def noted(self, model: str) -> Served | None:
        """The version that the servers serve; None if none has noted one."""
        try:
            return Served(**json.loads(self._sharing.read(_name(model)) or b""))
        except (ValueError, TypeError):
            return None

    async def switch(self, worker: Worker, bundle: Path, version: str | None, sha256: str | None) -> None:
        """Load another version, as `Worker.swap` does, and let the other servers follow.

        Raises:
            ServiceError: The bundle cannot be loaded; the present version stays.
            OSError: The bundle cannot be copied for the other servers.
        """
        async with self._switching:  # so that `follow` does not switch back before the note is written
            await worker.swap(bundle, version, sha256)
            await asyncio.to_thread(self._note, worker, first=False)

    async def follow(self, worker: Worker) -> None:
        """Switch whenever the note changes, until canceled."""
        while True:
            pause = LOOK_SECONDS
            try:
                async with self._switching:
                    await self._look(worker)
            except Exception as error:  # whatever one look meets, there is a next one
                known = isinstance(error, (ServiceError, OSError))
                message = "model %s: cannot follow the other servers: %s"
                log.error(message, worker.name, error, exc_info=not known)
                pause = AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _look(self, worker: Worker) -> None:
        wanted = await asyncio.to_thread(self.noted, worker.name)
        if wanted is None:
            await asyncio.to_thread(self._note, worker, first=True)
        elif wanted.sha256 != worker.facts.sha256:
            await worker.swap(self.bundle(wanted.sha256), wanted.version, wanted.sha256)
            log.info("model %s: follows the other servers to version %s", worker.name, wanted.version)

    def _note(self, worker: Worker, first: bool) -> None:
        """Note the version of a model; with `first`, only if no other server has noted one meanwhile."""
        if not self._sharing.several:
            return
        now = worker.current()
        found = Served(now.sha256 or "", now.version or "")
        self._copy(Path(now.bundle), self.bundle(found.sha256))
        name = _name(worker.name)
        with self._sharing.turn(name):
            if not (first and self.noted(worker.name)):
                self._sharing.write(name, json.dumps(asdict(found)).encode())

    def _copy(self, source: Path, target: Path) -> None:
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = beside(target)
            try:
                shutil.copytree(source, scratch)
                put_in_place(scratch, target)
            except OSError:
                if not target.is_dir():  # another server was faster
                    raise
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        os.utime(target)
        bundles = [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        for path in sorted(bundles, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def _name(model: str) -> str:
    return f"version-{model}"
