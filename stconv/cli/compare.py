"""`stconv compare`: tested runs side by side, best first, with the parameters in which they differ."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from rich.console import Console

    from stconv.experiments.comparison import Entry

EPILOG = """examples:
  stconv compare                                        all tested runs, grouped by data
  stconv compare --experiment air --plot compare.png
  stconv compare --experiment air --json
"""
MIN_WIDTH_OF_SKILL, WIDTH_BESIDE_SKILL = 6, 58
"""Characters of a skill, and of the rest of a line."""


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

    from stconv.experiments.comparison import draw, find_entries, group_json
    from stconv.verification.report.plots import save

    groups, unscored = find_entries(args.experiment, args.latest)
    if args.json:
        print(json.dumps([group_json(group) for group in groups], indent=2, allow_nan=False))
    else:
        console = Console()
        for group in groups:
            print_group(group, console)
        if unscored:
            names = ", ".join(f"{info.name} {info.run_id[:8]}" for info in unscored)
            console.print(f"[dim]Not tested, or without scores on this machine: {names}[/dim]")
    if args.plot:
        path = save(draw(groups[0]), Path(args.plot))
        if not args.json:
            more = f" (the {len(groups[0])} runs on the data of the newest)" if len(groups) > 1 else ""
            print(f"Picture{more}: {path}")
    return 0


def print_group(group: Sequence[Entry], console: Console) -> None:
    """Print a table of scores and one of the parameters that differ."""
    from rich.markup import escape
    from rich.table import Table

    from stconv.experiments.comparison import against_best, reference_of
    from stconv.verification.report.table import STYLES, decimals, number, percent, with_units

    first = group[0].result
    sums = first.sums
    period = f", {first.period[0]} to {first.period[1]}" if first.period else ""
    console.print(
        f"[bold]{escape(first.data)}[/bold], {sums.n_windows} windows{period}; best pooled test RMSE first",
        highlight=False,
    )
    reference = reference_of(group)
    units = sums.units[sums.variables[0]] if len(sums.variables) == 1 else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("run", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column(with_units("RMSE", units), justify="right", no_wrap=True)
    wide = max(MIN_WIDTH_OF_SKILL, *map(len, first.labels)) + 2
    room = (console.width - WIDTH_BESIDE_SKILL) // wide
    leads = _shown_leads(sums.n_leads, len(sums.variables), room)
    for variable in sums.variables:
        of = f"{variable} " if len(sums.variables) > 1 else ""
        for lead in leads:
            table.add_column(f"{of}{first.labels[lead]}", justify="right", no_wrap=True)
    table.add_column("against #1", overflow="fold")
    places = decimals(np.array([entry.rmse for entry in group]))
    for rank, (entry, words) in enumerate(zip(group, against_best(group), strict=True), 1):
        cells = []
        for i in range(len(sums.variables)):
            skill = entry.result.sums.skill(entry.result.sums.model, reference)[i]
            outcome = entry.result.outcome(reference)[i]
            cells += [f"[{STYLES[str(outcome[lead])]}]{percent(skill[lead])} %[/]" for lead in leads]
        name = f"{escape(entry.run.name)} [dim]{entry.run.run_id[:8]}[/dim]"
        table.add_row(str(rank), name, number(entry.rmse, places), *cells, words)
    for name in sums.references:
        rmse = float(np.sqrt(np.mean(sums.pooled_rmse(name) ** 2)))
        skill = [sums.skill(name, reference)[i, lead] for i in range(len(sums.variables)) for lead in leads]
        cells = [f"[dim]{percent(x)} %[/dim]" if name != reference else "" for x in skill]
        table.add_row("", f"[dim]{name}[/dim]", f"[dim]{number(rmse, places)}[/dim]", *cells)
    console.print(table)
    console.print(
        f"Leads: skill against {reference}; green beats it, red loses to it, yellow is undecided.\n"
    )
    _print_differences(group, console)


def _print_differences(group: Sequence[Entry], console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from stconv.experiments.comparison import differing_parameters, short_names

    rows = differing_parameters([entry.run for entry in group])
    if not rows:
        if len(group) > 1:
            console.print("All parameters are the same.\n", style="dim")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("parameter", no_wrap=True, overflow="ellipsis")
    for rank in range(1, len(group) + 1):
        table.add_column(f"#{rank}", overflow="fold")
    short = short_names(list(rows))
    for name, values in rows.items():
        table.add_row(escape(short[name]), *[escape(_short(value)) for value in values])
    console.print(table)
    console.print()


def _short(value: str) -> str:
    """The last part of a class path; anything else as it is."""
    is_class_path = "." in value and all(part.isidentifier() for part in value.split("."))
    return value.rsplit(".", 1)[-1] if is_class_path else value


def _shown_leads(n_leads: int, n_variables: int, room: int) -> list[int]:
    """Choose leads that fit into a number of columns, evenly spaced, with the first and the last."""
    n = max(2, min(8, room) // n_variables)
    return evenly_spaced(range(n_leads), n)
