"""`stconv ensemble`: combine several trained models into one that forecasts a distribution."""

from __future__ import annotations

import argparse

EPILOG = """examples:
  stconv ensemble RUN RUN RUN --output ensemble            runs of one configuration with different seeds
  stconv evaluate ensemble --config runs/air/RUN/config.yaml

The forecast is the mean of their forecasts, and their spread widens the bands of uncertainty where they
disagree. The bands are calibrated again, on the validation period of the first model's data.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv ensemble`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("references", nargs="+", metavar="REFERENCE", help="run ids or names, models:/NAME@ALIAS, or folders")
    add("--output", required=True, metavar="DIR", help="bundle to write; an existing one is replaced")
    add(
        "--config",
        metavar="FILE",
        help="configuration of the calibration data (default: that of the first run)",
    )
    add("--name", default="ensemble", help="name of the model (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Combine, calibrate and write."""
    from stconv.front.ensemble import ensemble

    made = ensemble(args.references, args.output, name=args.name, config=args.config)
    print(f"{made.n_models} models combined, calibrated on {made.n_windows} windows: {made.folder}")
    print(f"Next: stconv evaluate {made.folder} --config {made.config}")
    return 0
