"""Runs side by side as tables for a terminal: scores, and the parameters in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stconv.spacing import evenly_spaced

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from stconv.experiments.comparison import Entry

MIN_WIDTH_OF_SKILL, WIDTH_BESIDE_SKILL = 6, 58
"""Characters of a skill, and of the rest of a line."""


def comparison_tables(group: Sequence[Entry], width: int) -> Iterator[RenderableType]:
    """Yield a title, a table of scores, and a table of the parameters that differ.

    Args:
        group: Runs on the same data, best first.
        width: Characters in a line; leads that do not fit are left out.
    """
    from rich.markup import escape
    from rich.text import Text

    from stconv.experiments.comparison import reference_of

    first = group[0].result
    sums = first.sums
    period = f", {first.period[0]} to {first.period[1]}" if first.period else ""
    yield Text.from_markup(
        f"[bold]{escape(first.data)}[/bold], {sums.n_windows} windows{period}; best pooled test RMSE first"
    )
    yield _scores(group, width)
    yield Text(
        f"Leads: skill against {reference_of(group)}; green beats it, red loses to it, yellow is undecided.\n"
    )
    differences = _differences(group)
    if differences is not None:
        yield differences
        yield ""
    elif len(group) > 1:
        yield Text("All parameters are the same.\n", style="dim")


def _scores(group: Sequence[Entry], width: int) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from stconv.experiments.comparison import against_best, reference_of
    from stconv.verification.report.table import STYLES, decimals, number, percent, with_units

    first = group[0].result
    sums = first.sums
    reference = reference_of(group)
    units = sums.units[sums.variables[0]] if len(sums.variables) == 1 else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("run", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column(with_units("RMSE", units), justify="right", no_wrap=True)
    wide = max(MIN_WIDTH_OF_SKILL, *map(len, first.labels)) + 2
    leads = _shown_leads(sums.n_leads, len(sums.variables), (width - WIDTH_BESIDE_SKILL) // wide)
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
    return table


def _differences(group: Sequence[Entry]) -> Table | None:
    """Parameters that differ, with the value of each run; None if there are none."""
    from rich.markup import escape
    from rich.table import Table

    from stconv.experiments.comparison import differing_parameters, short_names

    rows = differing_parameters([entry.run for entry in group])
    if not rows:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("parameter", no_wrap=True, overflow="ellipsis")
    for rank in range(1, len(group) + 1):
        table.add_column(f"#{rank}", overflow="fold")
    short = short_names(list(rows))
    for name, values in rows.items():
        table.add_row(escape(short[name]), *[escape(_short(value)) for value in values])
    return table


def _short(value: str) -> str:
    """The last part of a class path; anything else as it is."""
    is_class_path = "." in value and all(part.isidentifier() for part in value.split("."))
    return value.rsplit(".", 1)[-1] if is_class_path else value


def _shown_leads(n_leads: int, n_variables: int, room: int) -> list[int]:
    """Choose leads that fit into a number of columns, evenly spaced, with the first and the last."""
    n = max(2, min(8, room) // n_variables)
    return evenly_spaced(range(n_leads), n)
