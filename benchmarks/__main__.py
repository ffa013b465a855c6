"""`make bench`: every benchmark, as a table on the screen and in benchmarks/latest.json."""

from __future__ import annotations

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import data, networks, peak
from benchmarks.limits import copy_bytes, on_a_shared_machine

LATEST = Path(__file__).with_name("latest.json")


def machine() -> list[dict[str, Any]]:
    return [{"name": "memory copy", "value": copy_bytes() / 1e9, "unit": "GB/s", "target": ""}]


PARTS = {"machine": machine, "networks": networks.rows, "memory": peak.rows, "data": data.rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "part", nargs="*", default=list(PARTS), help=f"among {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument(
        "--shared", action="store_true", help="processor time of one thread, on a machine that others use too"
    )
    arguments = parser.parse_args()
    if arguments.shared:
        on_a_shared_machine()
    parts = arguments.part
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no benchmark '{unknown[0]}'; there are: {', '.join(PARTS)}")
    rows = [{"part": part, **row} for part in parts for row in PARTS[part]()]
    table = Table("part", "what", "value", "unit", "aim")
    for row in rows:
        table.add_row(row["part"], row["name"], f"{row['value']:.3g}", row["unit"], row["target"])
    Console().print(table)
    about = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "time": "of the processor" if arguments.shared else "on the wall",
        "torch": torch.__version__,
    }
    LATEST.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")
    print(f"also in {LATEST}")


if __name__ == "__main__":
    main()
