"""`stconv promote`: make the candidate the champion, if it has the skill."""

from __future__ import annotations

import argparse

EPILOG = """The candidate has to beat, over all leads together and for every variable, persistence and
climatology on its test windows, and the present champion on the windows both were tested on. Beaten is what
lies below it beyond doubt: the 95 % interval of the skill is above 0 and a Diebold-Mariano test agrees.
Where it does not, nothing changes, the reason is said, and the exit status is 1.

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
