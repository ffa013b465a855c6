"""``stconv data``: the shipped recipes for public data sets."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    parser.description = (
        "Public data sets with recipes: their sources, licenses and read options. "
        "STCONV_DATA_MIRROR=FOLDER takes the files from a folder instead of the network; "
        "STCONV_CACHE=FOLDER is the folder for downloads (default ~/.cache/stconv)."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="name and title of every recipe")
    fetch = actions.add_parser("fetch", help="download a data set, check its hashes, print the paths to open")
    fetch.add_argument("name", help="recipe, see `stconv data list`")
    fetch.add_argument("--quiet", action="store_true", help="no progress bar")
    path = actions.add_parser("path", help="print the paths of a downloaded data set")
    path.add_argument("name", help="recipe, see `stconv data list`")
    clean = actions.add_parser("clean", help="remove downloads and cached series; sources are untouched")
    clean.add_argument("name", nargs="?", help="only the downloads of this recipe (default: everything)")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    ACTIONS[args.action](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    from stconv.front.recipes import recipes

    found = recipes()
    width = max(map(len, found), default=0)
    for name, recipe in found.items():
        print(f"{name:{width}}  {recipe.title} ({recipe.license})")


def _fetch(args: argparse.Namespace) -> None:
    from stconv.front.recipes import fetch

    for path in fetch(args.name, progress=not args.quiet):
        print(path)


def _path(args: argparse.Namespace) -> None:
    from stconv.front.recipes import fetched

    for path in fetched(args.name):
        print(path)


def _clean(args: argparse.Namespace) -> None:
    from stconv.cache import cache_dir
    from stconv.front.recipes import clean

    freed = clean(args.name)
    print(f"Removed {freed / 1e6:.1f} MB from {cache_dir()}.")


ACTIONS = {"list": _list, "fetch": _fetch, "path": _path, "clean": _clean}
