"""``stconv configs``: the shipped experiments."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    parser.description = (
        "Experiments that stconv ships, one self-contained YAML file each, for `stconv fit --config`."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="name of every experiment and its first comment line")
    path = actions.add_parser("path", help="print the file of one experiment")
    path.add_argument("name", help="experiment, see `stconv configs list`")
    copy = actions.add_parser("copy", help="copy experiments to a folder of your own, to change them")
    copy.add_argument("folder", type=Path, help="target folder, created if absent; existing files are kept")
    copy.add_argument("names", nargs="*", help="experiments to copy (default: all)")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from stconv.resources import config_path, copy_configs, list_configs

    if args.action == "path":
        print(config_path(args.name))
    elif args.action == "list":
        names = list_configs()
        width = max(map(len, names), default=0)
        for name in names:
            print(f"{name:{width}}  {_first_comment(config_path(name))}".rstrip())
    else:
        for target in copy_configs(args.folder, args.names):
            print(target)
    return 0


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ") if first.startswith("#") else ""
