"""`stconv explain`: layers, receptive field and cost of a network; pictures of filters and feature maps."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stconv.explain.explanation import Explanation

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

    from stconv.bundle import Bundle
    from stconv.experiments.explanation import (
        draw_network,
        draw_optima,
        explanation_folder,
        logger_of_run,
        put_on_run,
    )
    from stconv.experiments.networks import grid_of_bundle, grid_of_config, network_of_config
    from stconv.explain import explain
    from stconv.tracking.registry import resolve_bundle

    bundle = None
    if args.what.endswith((".yaml", ".yml")):
        network, data = network_of_config(Path(args.what))
        channels = list(data.settings.visible)
    else:
        bundle = Bundle.load(resolve_bundle(args.what))
        network, channels = bundle.network, list(bundle.preparation.settings.visible)
    _check_pictures(args, of_bundle=bundle is not None)
    if args.grid:
        (n_lat, n_lon), spacing = args.grid, None if bundle is None else grid_of_bundle(bundle)[1]
    else:
        (n_lat, n_lon), spacing = (
            grid_of_config(network, data, _remark) if bundle is None else grid_of_bundle(bundle)
        )
    explanation = explain(network, n_lat, n_lon, spacing)
    run = None if args.run is None else logger_of_run(args.run)
    folder = args.plot if run is None else explanation_folder(run)
    pictures = []
    if folder is not None:
        pictures = draw_network(network, channels, folder, bundle, args.input)
        pictures += draw_optima(network, channels, folder, args.visualize, (n_lat, n_lon))
    if run is not None:
        put_on_run(explanation, folder, run)
    if args.json:
        print(json.dumps({**explanation.to_json(), "pictures": [str(path) for path in pictures]}, indent=2))
    else:
        _print(explanation, pictures)
    return 0


def _check_pictures(args: argparse.Namespace, of_bundle: bool) -> None:
    """Refuse options of pictures without a folder for them, or without trained weights."""
    from stconv.errors import ConfigError

    has_folder = args.plot is not None or args.run is not None
    if args.input and not (of_bundle and has_folder):
        raise ConfigError(
            "--input needs a bundle, whose network is trained and whose data are known, and --plot DIR "
            "or --run RUN. Give both, or leave --input out."
        )
    if args.visualize and not has_folder:
        raise ConfigError("--visualize needs --plot DIR or --run RUN, which say where the pictures go.")


def _print(explanation: Explanation, pictures: Sequence[Path]) -> None:
    from rich.console import Console

    from stconv.experiments.explanation import UNFOLDED
    from stconv.explain.table import print_explanation

    print_explanation(explanation, Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED))
    for path in pictures:
        print(f"Picture: {path}")


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
