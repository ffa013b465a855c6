"""`stconv register`: make a tested run a version of a registered model."""

from __future__ import annotations

import argparse

EPILOG = """examples:
  stconv register --name air                         the newest tested run
  stconv register conv2plus1d --name air             the newest run of that name, or a run id

The version becomes the candidate, models:/air@candidate. `stconv promote air` makes it the champion.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv register`."""
    parser.epilog = EPILOG
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="run id or name (default: the newest tested run)"
    )
    parser.add_argument(
        "--name", required=True, help="name of the registered model; created if it does not exist"
    )
    parser.add_argument("--experiment", metavar="NAME", help="look for the run in this experiment only")


def run(args: argparse.Namespace) -> int:
    """Register, and print the names of the version."""
    from stconv.front.run import find

    found = find(args.run, args.experiment)
    version = found.register(args.name)
    print(f"Run {found.info} is {version.reference}, and models:/{args.name}@candidate.")
    print(f"Make it the champion: stconv promote {args.name}")
    return 0
