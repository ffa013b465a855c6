"""``stconv inspect``: describe files before training on them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stconv.cli.grid_arguments import add_grid_arguments, given
from stconv.duck_arrays import skip_search
from stconv.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Describe files: axes, calendar, time step, gaps, missing values, units, ranges, memory, number "
        "of windows for training, and advice."
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="NetCDF, Zarr or GRIB: files, folders or patterns, read as one series",
    )
    parser.add_argument(
        "--variables", nargs="+", metavar="NAME", help="variables to describe (default: every field)"
    )
    parser.add_argument(
        "--t-in", type=_positive, default=5, metavar="N", help="input steps of a window (default: 5)"
    )
    parser.add_argument(
        "--leads", type=_positive, default=5, metavar="N", help="steps to forecast (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the last field and the time series of the grid mean"
    )
    parser.add_argument(
        "--write-config",
        type=Path,
        metavar="FILE",
        help="write an experiment for `stconv fit --config`",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="time that the training of --write-config may take here: a step is measured, and the size of "
        "the network and the number of epochs are chosen accordingly",
    )
    add_grid_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from stconv.front.inspection import inspect

    skip_search()
    if args.minutes is not None and args.write_config is None:
        raise ConfigError("--minutes is for the training of --write-config FILE, which is missing.")
    found = inspect(args.paths, args.variables, t_in=args.t_in, leads=args.leads, **given(args))
    print(json.dumps(found.to_json(), indent=2) if args.json else found)
    notes = []
    if args.plot is not None:
        notes.append(f"Picture: {found.save_plot(args.plot)}")
    if args.write_config is not None:
        file = args.write_config
        said = found.write_config(file, args.minutes)
        notes.append(f"Experiment: {file}. Next: stconv fit --config {file}")
        notes += [said] if said else []
    if notes and not args.json:
        print("\n" + "\n".join(notes))
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found '{text}'")
    return int(text)
