"""`stconv serve`: serve forecasts over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Callable, Mapping
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ConfigError, FileError

if TYPE_CHECKING:
    from service.settings import Settings
    from service.workers.worker import Worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--model", required=True, metavar="REF", help="a bundle folder, runs:/ID, or models:/NAME@champion"
    )
    parser.add_argument(
        "--name", help="name of the model for clients (default: the name in REF or in the bundle)"
    )
    parser.add_argument(
        "--host", help="address to listen on (default: 127.0.0.1; any other requires API keys)"
    )
    parser.add_argument("--port", type=int, help="port to listen on (default: 8000; 0 takes a free one)")
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="files, folders or patterns with the input data; watched for new times",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="folder of stored forecasts and jobs (default: a temporary one)",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        default=None,
        help="share the folder of --state with other servers that are started with this option",
    )
    parser.add_argument(
        "--follow-alias",
        action="store_true",
        help="load the version that the alias of --model models:/NAME@ALIAS names whenever it changes",
    )
    parser.add_argument("--threads", type=int, help="threads of the model (default: PyTorch's)")
    parser.add_argument(
        "--engine", help="torch (default), openvino (same forecast, often faster) or openvino-int8"
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="cells of a tile, for large grids (same result); 0 for one piece (default: by available memory)",
    )
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        metavar="MODULE",
        help="import this module or .py file in the model's process: it registers networks of your own; "
        "may be given several times",
    )
    parser.add_argument(
        "--allow-anonymous", action="store_true", default=None, help="serve beyond loopback without API keys"
    )
    parser.epilog = (
        "Limits and keys are set by environment variables STCONV_SERVE_*. For example,\n"
        "STCONV_SERVE_KEYS_FILE names the file of keys that `stconv key` writes."
    )


def run(args: argparse.Namespace) -> int:
    """Load the model, open the port, print how to ask, and serve until SIGTERM.

    Returns:
        Exit status.

    Raises:
        StconvError: The settings contradict each other, the model cannot be loaded, or the port is in use.
    """
    from service.server import serve
    from service.telemetry.observing import export_spans, log_as_json

    for path in args.data or []:
        if not (path.exists() or has_magic(str(path))):
            raise FileError(f"There is no '{path}' to read input data from. Check --data.")
    names = (
        "host",
        "port",
        "data",
        "state",
        "shared",
        "threads",
        "engine",
        "tile",
        "imports",
        "allow_anonymous",
    )
    given = {name: getattr(args, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if args.follow_alias and not re.fullmatch(r"models:/[^/@]+(@[^/@]+)?", args.model):
        raise ConfigError(
            "--follow-alias needs an alias of a registered model, --model models:/NAME@ALIAS; found "
            f"{args.model}."
        )
    settings = _settings(given)  # before the model is looked for: a wrong option is said at once
    bundle, version, keep = _local_bundle(args.model, settings.cache)
    name = args.name or _name(args.model, bundle)
    settings = settings.model_copy(
        update={
            "models": {name: bundle},
            "versions": {name: version} if version else {},
            "follow": {name: args.model} if args.follow_alias else {},
        }
    )
    log_as_json()
    export_spans()
    print(f"Loading {name} from {bundle} ...", flush=True)

    def introduce(workers: Mapping[str, Worker], url: str) -> None:
        keep()
        _introduce(workers, settings, url)

    return serve(settings, introduce)


def _settings(given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        said = "; ".join(
            ": ".join([*map(str, e["loc"]), e["msg"].removeprefix("Value error, ")]) for e in error.errors()
        )
        raise ConfigError(said) from error


def _local_bundle(reference: str, cache: Path) -> tuple[Path, str | None, Callable[[], None]]:
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
        print(
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


def _introduce(workers: Mapping[str, Worker], settings: Settings, url: str) -> None:
    for name, worker in workers.items():
        variables = ", ".join(f"{v['name']} ({v['units']})" for v in worker.schema["variables"])
        step, frames = worker.schema["step"]["label"], worker.schema["frames"]["count"]
        print(f"Serving {name}, version {worker.version}: {variables}; {frames} frames of {step} in.")
    key = " -H 'Authorization: Bearer KEY'" if settings.needs_keys else ""
    name = next(iter(workers))
    print(f"\n  {url}\n\nAsk it:")
    print(f"  curl{key} {url}/v1/models/{name}")
    print(
        f"  curl{key} -H 'Content-Type: application/x-netcdf' --data-binary @INPUT.nc -o forecast.nc "
        f"{url}/v1/forecasts"
    )
    if settings.data:
        print(f"  curl{key} '{url}/v1/forecast?latitude=LAT&longitude=LON'")
    print(f"\n{url} in a browser is a map, {url}/docs lists everything. Ctrl-C stops.", flush=True)
