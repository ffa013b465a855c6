"""`stconv explain`: layers, receptive field and cost of a network; pictures of filters and feature maps."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EPILOG = """examples:
  stconv explain configs/quickstart.yaml
  stconv explain configs/quickstart.yaml --grid 721x1440 --json
  stconv explain models:/air@champion --plot pictures --input analysis.nc
  stconv explain models:/air@champion --plot pictures --visualize network.features.0:3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv explain`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "what",
        metavar="CONFIG|MODEL",
        help="a configuration (.yaml), or a bundle: folder, runs:/..., models:/...",
    )
    add(
        "--grid",
        type=_grid,
        metavar="LATxLON",
        help="grid to count for (default: that of the network, recipe, files or bundle, or 32x32)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    add(
        "--plot",
        type=Path,
        metavar="DIR",
        help="draw the first layer's filters, and feature maps with --input",
    )
    add(
        "--run",
        metavar="RUN",
        help="put table, JSON and pictures on this run in MLflow: an id or a name",
    )
    add(
        "--input",
        nargs="+",
        metavar="FILE",
        help="data of a bundle, whose newest window is run for feature maps",
    )
    add(
        "--visualize",
        nargs="+",
        type=_channel,
        default=[],
        metavar="LAYER[:CHANNEL]",
        help="draw the input that maximizes a channel of a layer (default: channel 0), by gradient ascent",
    )


def run(args: argparse.Namespace) -> int:
    """Explain the network; returns the exit status."""
    import json

    from rich.console import Console

    from stconv.front.explanation import UNFOLDED, explain

    found = explain(
        args.what,
        grid=args.grid,
        plot=args.plot,
        run=args.run,
        inputs=args.input,
        visualize=args.visualize,
        say=_remark,
    )
    if args.json:
        print(json.dumps(found.to_json(), indent=2))
        return 0
    found.show(Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED))
    for path in found.pictures:
        print(f"Picture: {path}")
    return 0


def _remark(text: str) -> None:
    print(f"stconv: {text}", file=sys.stderr)


def _channel(text: str) -> tuple[str, int]:
    layer, has_channel, channel = text.partition(":")
    if not layer or (has_channel and not channel.isdecimal()):
        raise argparse.ArgumentTypeError(f"LAYER or LAYER:CHANNEL is expected, found '{text}'")
    return layer, int(channel or 0)


def _grid(text: str) -> tuple[int, int]:
    try:
        lat, lon = (int(part) for part in text.lower().split("x"))
    except ValueError:
        lat = lon = 0
    if min(lat, lon) < 1:
        raise argparse.ArgumentTypeError(f"expected two sizes such as 25x53, found '{text}'")
    return lat, lon
