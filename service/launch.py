"""From the reference of a model and options to a running server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError, FileError

if TYPE_CHECKING:
    from service.settings import Settings
    from service.workers.worker import Worker


@dataclass(frozen=True)
class Served:
    """A server that has loaded its model and answers.

    Attributes:
        url: Its address.
        workers: The process of each model, by the name for clients.
        needs_keys: Whether a request needs an API key.
        has_data: Whether it forecasts from data of its own.
    """

    url: str
    workers: Mapping[str, Worker]
    needs_keys: bool
    has_data: bool


def launch(
    model: str,
    options: Mapping[str, Any],
    *,
    name: str | None = None,
    follow_alias: bool = False,
    say: Callable[[str], None],
    on_ready: Callable[[Served], None],
) -> int:
    """Load the model, open the port, and serve until SIGTERM.

    Args:
        model: A bundle folder, runs:/ID, or models:/NAME@ALIAS.
        options: Settings of the server by name; None for the default.
        name: Name of the model for clients; default: the name in its reference or in the bundle.
        follow_alias: Load the version that the alias names whenever it changes.
        say: Takes each remark on the way.
        on_ready: Called once the server answers.

    Returns:
        Exit status.

    Raises:
        StconvError: The settings contradict each other, the model cannot be loaded, or the port is in use.
    """
    from service.server import serve
    from service.telemetry.observing import export_spans, log_as_json

    for path in options.get("data") or []:
        if not (path.exists() or has_magic(str(path))):
            raise FileError(f"There is no '{path}' to read input data from. Check --data.")
    if follow_alias and not re.fullmatch(r"models:/[^/@]+(@[^/@]+)?", model):
        raise ConfigError(
            f"--follow-alias needs an alias of a registered model, --model models:/NAME@ALIAS; found {model}."
        )
    settings = _settings(options)  # before the model is looked for: a wrong option is said at once
    bundle, version, keep = _local_bundle(model, settings.cache, say)
    name = name or _name(model, bundle)
    settings = settings.model_copy(
        update={
            "models": {name: bundle},
            "versions": {name: version} if version else {},
            "follow": {name: model} if follow_alias else {},
        }
    )
    log_as_json()
    export_spans()
    say(f"Loading {name} from {bundle} ...")

    def ready(workers: Mapping[str, Worker], url: str) -> None:
        keep()
        on_ready(Served(url, workers, settings.needs_keys, bool(settings.data)))

    return serve(settings, ready)


def _settings(options: Mapping[str, Any]) -> Settings:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        said = "; ".join(
            ": ".join([*map(str, e["loc"]), e["msg"].removeprefix("Value error, ")]) for e in error.errors()
        )
        raise ConfigError(said) from error


def _local_bundle(
    reference: str, cache: Path, say: Callable[[str], None]
) -> tuple[Path, str | None, Callable[[], None]]:
    """Folder of the bundle, version of a registered model, and a function to call once it is loaded."""
    folder = Path(reference)
    if folder.is_dir():
        return folder, None, lambda: None
    if not reference.startswith(("models:/", "runs:/")):
        return folder, None, lambda: None  # the model's process says that there is no bundle
    from service.workers.last_good import fetch, keep

    found = asyncio.run(fetch(reference, cache))
    if not reference.startswith("models:/"):
        return Path(found.folder), None, lambda: None
    if found.instead_of_registry:
        say(
            f"The tracking server does not answer. Serving version {found.version}, the last one that worked."
        )
    return Path(found.folder), found.version, lambda: keep(reference, found, cache)


def _name(reference: str, bundle: Path) -> str:
    """From models:/NAME@alias or models:/NAME/3, else what the bundle calls itself; loading checks it all."""
    if reference.startswith("models:/"):
        return reference.removeprefix("models:/").partition("@")[0].partition("/")[0]
    try:
        return str(json.loads((bundle / "spec.json").read_text())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return bundle.name
