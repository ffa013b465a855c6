"""`stconv doctor`: check the installation and the machine."""

from __future__ import annotations

import argparse

EPILOG = """Checks the versions of libraries (known holes among them), the cores and the memory that a
container allows, disks, GPU, tracking store, registry and clock. Each fault and warning has a remedy.

Exit status: 1 if there is a fault, else 0.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv doctor`."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    from stconv.front.diagnosis import diagnose

    found = diagnose()
    if args.json:
        import json

        print(json.dumps(found.to_json(), indent=2))
    else:
        print(found)
    return int(not found.fit_for_work)
