"""`stconv promote`: make the candidate the champion, if it has the skill."""

from __future__ import annotations

import argparse

EPILOG = """The candidate has to have a smaller RMSE, over all leads together and for every variable, than
persistence and climatology on its test windows, and than the present champion on the windows both were
tested on. Where it has not, nothing changes, the reason is said, and the exit status is 1.

example:
  stconv promote air
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv promote`."""
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="NAME", help="the registered model")
    parser.add_argument(
        "--force",
        action="store_true",
        help="promote without the skill; recorded as tag `forced` of the version",
    )


def run(args: argparse.Namespace) -> int:
    """Promote, and say what was compared."""
    from stconv.tracking import promote

    print(promote(args.name, force=args.force))
    return 0
