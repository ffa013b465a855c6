"""`stconv evaluate`: a trained model on the test period: table, verdict, pictures, report page."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence

from stconv.errors import ConfigError

EPILOG = """examples:
  stconv evaluate                                    the newest trained run
  stconv evaluate conv2plus1d                        the newest run of that name, or a run id
  stconv evaluate models:/air@champion --output report
  stconv evaluate runs/air/RUN/bundle --config runs/air/RUN/config.yaml --json
  stconv evaluate rain --thresholds 0.5 2            also CSI, POD, FAR and FSS above thresholds
  stconv evaluate rain --optical-flow                also compared with optical flow
  stconv evaluate --region europe=35,70,-10,40       also scores of this box
  stconv evaluate air --hindcast hindcast.zarr       score stored forecasts, without computing any
  stconv evaluate --forecasts forecasts.nc           also every forecast, for other evaluation tools
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv evaluate`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "reference",
        nargs="?",
        metavar="REFERENCE",
        help="run id or name, runs:/ID, models:/NAME@ALIAS, or bundle folder (default: newest trained run)",
    )
    add("--experiment", metavar="NAME", help="look for the run in this experiment only")
    add(
        "--config",
        metavar="FILE",
        help="test on the data of this configuration instead of the run's; the result is not recorded",
    )
    add("--output", metavar="DIR", help="also write report, pictures and scores to this folder")
    add("--json", action="store_true", help="print only the scores, as JSON")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add(
        "--thresholds",
        nargs="+",
        metavar="VALUE",
        help="thresholds of events, in the units of the variable; with several variables NAME=VALUE "
        "(default: model.scoring.thresholds of the configuration)",
    )
    add(
        "--region",
        action="append",
        metavar="NAME=LAT,LAT,LON,LON",
        help="also score this box; repeatable",
    )
    add(
        "--optical-flow",
        action="store_true",
        help="also compare with the optical flow of pysteps (pip install 'stconv[pysteps]') (default: "
        "model.scoring.optical_flow of the configuration)",
    )
    add(
        "--hindcast",
        metavar="STORE",
        help="score the forecasts of this store of `stconv hindcast` instead of computing them",
    )
    add("--forecasts", metavar="FILE", help="also write every forecast of the test period, as NetCDF")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, write and record."""
    from rich.console import Console

    from stconv.front.evaluation import evaluate

    with contextlib.redirect_stdout(sys.stderr):  # whatever libraries print; the result alone goes to stdout
        scores = evaluate(
            args.reference,
            experiment=args.experiment,
            config=args.config,
            output=args.output,
            device=args.device,
            thresholds=thresholds(args.thresholds or ()),
            regions=dict(region(text) for text in args.region or ()),
            optical_flow=args.optical_flow,
            hindcast=args.hindcast,
            forecasts=args.forecasts,
        )
    if args.json:
        print(json.dumps({**scores.to_json(), "folder": str(scores.folder)}, indent=2, allow_nan=False))
        return 0
    console = Console()
    console.print(scores.text(min(console.width, 110)), soft_wrap=True)
    if args.forecasts is not None:
        console.print(f"Forecasts: {args.forecasts}", soft_wrap=True, highlight=False)
    console.print(f"Report: {scores.report}", soft_wrap=True, highlight=False)
    return 0


def thresholds(words: Sequence[str]) -> dict[str, list[float]]:
    """Read thresholds, VALUE or NAME=VALUE, by name; those without one under "".

    Raises:
        ConfigError: A value is no number.
    """
    found: dict[str, list[float]] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            found.setdefault(name, []).append(float(value))
        except ValueError:
            raise ConfigError(f"--thresholds {word}: '{value}' is not a number.") from None
    return found


def region(text: str) -> tuple[str, list[float]]:
    """Read a box, NAME=LAT,LAT,LON,LON.

    Raises:
        ConfigError: It is none.
    """
    name, _, box = text.partition("=")
    try:
        numbers = [float(word) for word in box.split(",")]
    except ValueError:
        numbers = []
    if not name or len(numbers) != 4:
        raise ConfigError(f"--region {text} is not understood; expected NAME=LAT,LAT,LON,LON, all numbers.")
    return name, numbers
