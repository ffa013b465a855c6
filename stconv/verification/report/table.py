"""Scores per lead as a table for the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stconv.contenders import MODEL, OPTICAL_FLOW, PERSISTENCE
from stconv.verification.scores.verdict import BEATS, LOSES, UNDECIDED

if TYPE_CHECKING:
    from stconv.verification.scores.result import Verification

STYLES = {BEATS: "green", LOSES: "red", UNDECIDED: "yellow"}
SAYING = (MODEL, PERSISTENCE, OPTICAL_FLOW)
"""Contenders whose forecasts contain extremes; forecasts that tend to a mean never reach a threshold."""
PRECISE = 10
"""Significant digits of a threshold, as many as a user may have stated."""
_LEAD_WIDTH, _NAME_WIDTH = 11, 24
Row: TypeAlias = tuple[str, list[Text]]
"""Name of a row, and a cell for each lead."""


def render_table(verification: Verification, width: int = 100, verdict_first: bool = False) -> Text:
    """Format a verification: a block of rows for each variable, and the verdict.

    Args:
        verification: Scores to show.
        width: Columns of the terminal; leads that do not fit go into further blocks.
        verdict_first: Whether the verdict stands above the table instead of below it.

    Returns:
        Styled text; ``str(text)`` is plain.
    """
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, force_terminal=True, color_system="standard", highlight=False)
    console.print(Text(verification.title, style="bold"))
    if verdict_first:
        console.print(Text(verification.verdict(), style="bold"))
    n_leads = verification.sums.n_leads
    n_columns = max(1, (width - _NAME_WIDTH) // _LEAD_WIDTH)
    for variable, name in enumerate(verification.sums.variables):
        if len(verification.sums.variables) > 1:
            console.print(Text(name, style="bold cyan"))
        for start in range(0, n_leads, n_columns):
            leads = range(start, min(start + n_columns, n_leads))
            console.print(_block(verification, _rows(verification, variable), leads))
        console.print(Text(_pooled(verification, variable)))
        for threshold, rows in event_rows(verification, variable):
            console.print(Text(f"at least {threshold}", style="bold"))
            for start in range(0, n_leads, n_columns):
                leads = range(start, min(start + n_columns, n_leads))
                console.print(_block(verification, rows, leads))
    if not verdict_first:
        console.print(Text(verification.verdict(), style="bold"))
    for warning in verification.warnings():
        console.print(Text(f"Note: {warning}", style="yellow"))
    return Text.from_ansi(buffer.getvalue().rstrip("\n"))


def _block(verification: Verification, rows: Iterable[Row], leads: range) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("lead", no_wrap=True)
    for lead in leads:
        table.add_column(verification.labels[lead], justify="right", no_wrap=True)
    for name, cells in rows:
        table.add_row(name, *[cells[lead] for lead in leads])
    return table


def _rows(verification: Verification, variable: int) -> Iterator[Row]:
    sums = verification.sums
    units = sums.units[sums.variables[variable]]
    places = decimals(sums.rmse(sums.model)[variable])

    def numbers(values: np.ndarray) -> list[Text]:
        return [Text(number(value, places)) for value in values]

    yield (
        with_units("RMSE", units),
        [Text(str(cell), style="bold") for cell in numbers(sums.rmse(sums.model)[variable])],
    )
    for reference in sums.references:
        yield f"  {reference}", numbers(sums.rmse(reference)[variable])
    for reference in sums.references:
        skill = sums.skill(sums.model, reference)[variable]
        low, high = verification.skill_interval(reference)[:, variable]
        styles = [STYLES[word] for word in verification.outcome(reference)[variable]]
        yield (
            f"vs {reference}",
            [Text(percent(value) + " %", style=style) for value, style in zip(skill, styles, strict=True)],
        )
        if np.isfinite(low).any():
            bounds = [f"{percent(a)}..{percent(b)}" for a, b in zip(low, high, strict=True)]
            yield f"  {verification.confidence:.0%} interval", [Text(cell, style="dim") for cell in bounds]
    yield with_units("MAE", units), numbers(sums.mae(sums.model)[variable])
    yield (
        with_units("bias", units),
        [Text(number(value, places, sign=True)) for value in sums.bias(sums.model)[variable]],
    )
    correlation = sums.acc(sums.model)[variable]
    if np.isfinite(correlation).any():
        yield "anomaly correlation", [Text(number(value, 3)) for value in correlation]


def event_rows(verification: Verification, variable: int) -> Iterator[tuple[str, list[Row]]]:
    """By threshold: CSI, FSS by scale and frequency bias of the contenders that can forecast the event."""
    sums, here = verification.sums, verification.diagnostic("thresholds", variable)
    if here is None:
        return
    for i, value in enumerate(here["value"].values):
        if not np.isfinite(value):
            continue
        scores = here.isel(threshold=i)
        fields = {"CSI": scores["csi"]}
        fields |= {
            f"FSS, {scale} x {scale} cells": scores["fss"].sel(scale=scale)
            for scale in here["scale"].values
            if scale > 1  # the FSS of a single cell adds nothing to the CSI
        }
        fields["frequency bias"] = scores["frequency_bias"]
        fields["MAE where the truth is"] = scores["mae"]
        rows: list[Row] = []
        for title, field in fields.items():
            for name in (name for name in sums.contenders if name in SAYING):
                best = name == sums.model
                cells = [
                    Text(number(value, 3), style="bold" if best else "")
                    for value in field.sel(contender=name).values
                ]
                rows.append((title if best else f"  {name}", cells))
        yield with_units(f"{value:.{PRECISE}g}", sums.units[sums.variables[variable]]), rows


def _pooled(verification: Verification, variable: int) -> str:
    sums = verification.sums
    units = sums.units[sums.variables[variable]]
    places = decimals(sums.rmse(sums.model)[variable])
    lines: dict[str, str] = {}
    for weighting, words in (("area", "over all leads, area-weighted"), ("cells", "over all leads")):
        pooled = {
            name: number(sums.pooled_rmse(name, weighting)[variable], places) for name in sums.contenders
        }
        others = ", ".join(f"{name} {pooled[name]}" for name in sums.references)
        scores = f"{with_units(pooled[sums.model], units)}{f' ({others})' if others else ''}"
        lines.pop(scores, None)  # both weightings agree: show one
        lines[scores] = f"RMSE {words}: {scores}"
    left_out = sums.left_out_share()[variable]
    if left_out > 0:
        lines[""] = (
            f"{left_out:.2%} of the known values are not scored: a reference or the forecast is missing."
        )
    return "\n".join(lines.values())


def with_units(name: str, units: str) -> str:
    """Name of a score and its units."""
    return f"{name} {units}".rstrip() if units != "1" else name


def decimals(values: np.ndarray) -> int:
    """Decimal places that show three digits of the smallest of some positive values."""
    smallest = np.nanmin(np.where(values > 0, values, np.nan)) if np.any(values > 0) else 1.0
    return int(np.clip(2 - math.floor(math.log10(smallest)), 0, 9))


def number(value: float, places: int, sign: bool = False) -> str:
    """A number with a number of decimal places, a dash if unknown, with an exponent if tiny."""
    if not math.isfinite(value):
        return "-"
    if places > 5:
        return f"{value:{'+' if sign else ''}.2e}"
    rounded = round(value, places) + 0.0  # no minus before a zero
    return f"{rounded:{'+' if sign and rounded else ''}.{places}f}"


def percent(fraction: float) -> str:
    """A signed fraction in percent, without the percent sign."""
    if not math.isfinite(fraction):
        return "-"
    rounded = round(100 * fraction)
    return f"{rounded:+d}" if rounded else "0"
