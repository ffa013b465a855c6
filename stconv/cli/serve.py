"""`stconv serve`: serve forecasts over HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.launch import Served

SETTINGS = (
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
"""Options that are settings of the server."""


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
    from service.launch import launch

    return launch(
        args.model,
        {name: getattr(args, name) for name in SETTINGS},
        name=args.name,
        follow_alias=args.follow_alias,
        say=_say,
        on_ready=_introduce,
    )


def _say(text: str) -> None:
    print(text, flush=True)


def _introduce(served: Served) -> None:
    for name, worker in served.workers.items():
        variables = ", ".join(f"{v['name']} ({v['units']})" for v in worker.schema["variables"])
        step, frames = worker.schema["step"]["label"], worker.schema["frames"]["count"]
        print(f"Serving {name}, version {worker.version}: {variables}; {frames} frames of {step} in.")
    key, url = " -H 'Authorization: Bearer KEY'" if served.needs_keys else "", served.url
    name = next(iter(served.workers))
    print(f"\n  {url}\n\nAsk it:")
    print(f"  curl{key} {url}/v1/models/{name}")
    print(
        f"  curl{key} -H 'Content-Type: application/x-netcdf' --data-binary @INPUT.nc -o forecast.nc "
        f"{url}/v1/forecasts"
    )
    if served.has_data:
        at_places = served.workers[name].facts.geographic
        asked = "forecast?latitude=LAT&longitude=LON" if at_places else "forecasts/latest"
        print(f"  curl{key} '{url}/v1/{asked}'")
    print(f"\n{url} in a browser is a map, {url}/docs lists everything. Ctrl-C stops.", flush=True)
