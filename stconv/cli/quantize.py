"""`stconv quantize`: add an int8 network to the bundle of a trained model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EPILOG = """The new bundle forecasts as before, and with --engine openvino-int8 in int8. The int8 levels are
calibrated on windows of the training period. The loss of accuracy is measured on the validation period
and stored in the bundle. The data are those of the run's configuration, or of --config.

examples:
  stconv quantize models:/air@champion --output air-int8
  stconv forecast --model air-int8 --engine openvino-int8 --input air.nc --output forecast.nc
  stconv serve --model air-int8 --engine openvino-int8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv quantize`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="folder, run, models:/NAME@ALIAS or models:/NAME/3")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder of the new bundle"
    )
    parser.add_argument("--config", metavar="FILE", help="configuration of the training, if it is not found")
    parser.add_argument(
        "--windows",
        type=int,
        default=300,
        metavar="N",
        help="windows of the training period to calibrate on, and of the validation period to measure on "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the bundle, and print the loss of accuracy."""
    from stconv.front.export import quantize

    made = quantize(args.model, args.output, config=args.config, windows=args.windows)
    for name in made.worse:
        print(
            f"stconv: warning: int8 raises the RMSE of {name} by over 0.5 %; --engine openvino is exact.",
            file=sys.stderr,
        )
    print(f"{made}\nuse             --engine openvino-int8")
    return 0
