"""`stconv promote`: make the candidate the champion, if it has skill."""

from __future__ import annotations

import argparse

EPILOG = """The candidate must beat persistence and climatology on its test windows, and the present
champion on the windows that both were tested on, for every variable over all leads together.
A reference counts as beaten when the 95 % interval of the skill is above zero and a Diebold-Mariano
test agrees. Otherwise nothing changes, the command prints the reason, and its exit status is 1.

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
        help="promote without skill; recorded as the tag `forced` of the version",
    )


def run(args: argparse.Namespace) -> int:
    """Promote, and print the comparison."""
    from stconv.front.registry import promote

    print(promote(args.name, force=args.force))
    return 0
