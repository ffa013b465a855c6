"""`stconv compare`: tested runs side by side, best first, with the parameters in which they differ."""

from __future__ import annotations

import argparse
import json

EPILOG = """examples:
  stconv compare                                        all tested runs, grouped by data
  stconv compare --experiment air --plot compare.png
  stconv compare --experiment air --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv compare`."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--experiment", metavar="NAME", help="runs of this experiment only (default: all)")
    add("--json", action="store_true", help="print only JSON")
    add("--plot", metavar="FILE", help="also draw error and skill against lead, as .png, .svg or .pdf")
    add("--latest", action="store_true", help="only the newest of the runs with the same name")


def run(args: argparse.Namespace) -> int:
    """List the tested runs, best first."""
    from rich.console import Console

    from stconv.front.comparison import comparisons

    found = comparisons(args.experiment, latest=args.latest)
    if args.json:
        print(json.dumps([group.to_json() for group in found.groups], indent=2, allow_nan=False))
    else:
        console = Console()
        for group in found.groups:
            for part in group.text(console.width):
                console.print(part, highlight=False)
        if found.unscored:
            names = ", ".join(f"{info.name} {info.run_id[:8]}" for info in found.unscored)
            console.print(f"[dim]Not tested, or without scores on this machine: {names}[/dim]")
    if args.plot:
        newest = found.groups[0]
        path = newest.save_plot(args.plot)
        if not args.json:
            more = f" (the {len(newest)} runs on the data of the newest)" if len(found.groups) > 1 else ""
            print(f"Picture{more}: {path}")
    return 0
