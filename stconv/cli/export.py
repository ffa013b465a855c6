"""`stconv export`: the network of a bundle as an ONNX file or as a program of torch.export."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """The exported network maps normalized frames (batch, channel, time, lat, lon) to the
normalized forecast (batch, channel, lead, lat, lon), for any batch size and grid. Normalization and
units stay in the bundle.

examples:
  stconv export models:/air@champion --output air.onnx
  stconv export runs/air/bundle --output air.pt2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv export`."""
    parser.epilog = EPILOG
    parser.add_argument(
        "model", metavar="MODEL", help="folder, runs:/ID, models:/NAME@ALIAS or models:/NAME/3"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=".onnx or .pt2")


def run(args: argparse.Namespace) -> int:
    """Write the file and print its path."""
    from stconv.front.export import export

    file = export(args.model, args.output)
    print(f"{file}: {file.stat().st_size / 1e6:.3g} MB")
    return 0
