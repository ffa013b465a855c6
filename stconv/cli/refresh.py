"""`stconv refresh`: a model in production refitted when its data have grown."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """examples:
  stconv refresh air                          when its data have grown by a tenth
  stconv refresh air --grown 0.02
  stconv refresh air --scores archive/air/3/scores.nc --least-skill 0.1

The refit is compared with the champion on the newest data, which neither has seen, and becomes the
champion unless it is worse. A service that follows the alias, models:/air@champion, changes over
without losing a request. Without a reason to refresh the exit status is 1; run it by a timer.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv refresh`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("name", metavar="NAME", help="the registered model")
    add(
        "--grown",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="refresh when the data have grown by this share (default: %(default)s)",
    )
    add(
        "--scores",
        type=Path,
        metavar="FILE",
        help="scores of the live verification of the champion, in the archive of a server",
    )
    add(
        "--least-skill",
        type=float,
        metavar="SKILL",
        help="refresh also when the live skill over persistence is below this",
    )


def run(args: argparse.Namespace) -> int:
    """Refresh, and print the new champion."""
    from stconv.front.registry import refresh

    found = refresh(args.name, grown=args.grown, scores=args.scores, least_skill=args.least_skill, say=print)
    print(found)
    return 0
