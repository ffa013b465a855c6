"""The report of a verification as one HTML page that needs nothing else: no file, no network, no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stconv.verification.table import decimals, number, percent
from stconv.verification.verdict import BEATS, LOSES, UNDECIDED

if TYPE_CHECKING:
    from stconv.verification.result import Verification

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733;
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.about { color: #5b6b7b; margin: .2rem 0 1rem }
.verdict { background: #eef4fa; border-left: 4px solid #1f5fa8; padding: .7rem 1rem; font-weight: 600;
  white-space: pre-line }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #e2e8ee }
th:first-child { text-align: left; font-weight: 500 } thead th { border-bottom: 2px solid #9fb0c0 }
.beats { color: #14713a } .loses { color: #b3261e } .undecided { color: #8a6100 }
small { color: #5b6b7b; display: block } img { max-width: 100%; height: auto }
.scroll { overflow-x: auto } footer { color: #5b6b7b; margin: 2rem 0; font-size: .9rem }
"""
CLASSES = {BEATS: "beats", LOSES: "loses", UNDECIDED: "undecided"}


def write_report(
    verification: Verification,
    pictures: Mapping[str, Path],
    path: str | Path,
    about: Sequence[str] = (),
) -> Path:
    """Write a page with verdict, scores and pictures.

    Args:
        verification: What to report.
        pictures: PNG files by caption, in order; they are put into the page.
        path: Where to write.
        about: Further sentences on model and data.

    Returns:
        The path.
    """
    sums = verification.sums
    parts = [
        f"<h1>{escape(verification.model)} on {escape(verification.data)}</h1>",
        f'<p class="about">{escape(_scope(verification))}</p>',
        f'<p class="verdict">{escape(verification.verdict())}</p>',
    ]
    for variable, name in enumerate(sums.variables):
        units = sums.units[name]
        parts.append(f"<h2>{escape(name)}{f', {escape(units)}' if units not in ('', '1') else ''}</h2>")
        parts.append(f'<div class="scroll">{_table(verification, variable)}</div>')
        left_out = sums.left_out_share()[variable]
        if left_out > 0:
            parts.append(f"<p>{left_out:.2%} of the known values are not scored.</p>")
    for caption, picture in pictures.items():
        data = base64.b64encode(picture.read_bytes()).decode()
        parts.append(
            f'<h2>{escape(caption)}</h2><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        )
    parts.append(f"<footer>{' '.join(escape(line) for line in [*about, _method(verification)])}</footer>")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(verification.title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
    return path


def _scope(verification: Verification) -> str:
    period = f", {verification.period[0]} to {verification.period[1]}" if verification.period else ""
    labels = verification.labels
    return f"{verification.sums.n_windows} test windows{period}; leads {labels[0]} to {labels[-1]}"


def _method(verification: Verification) -> str:
    return (
        "Errors are summed over all windows and cells, weighted by area on a geographic grid, before any "
        "ratio is taken; all forecasts are scored on the same windows and cells. "
        "Skill is 1 - RMSE / RMSE of the reference. "
        f"Intervals hold {verification.confidence:.0%}: {verification.n_resamples} resamples of blocks of "
        f"{verification.block} windows. A reference counts as beaten where the interval lies above 0 and a "
        "Diebold-Mariano test with the correction of Harvey, Leybourne and Newbold (1997) agrees."
    )


def _table(verification: Verification, variable: int) -> str:
    sums = verification.sums
    places = decimals(sums.rmse(sums.model)[variable])
    rows = [_row(f"RMSE of {verification.model}", sums.rmse(sums.model)[variable], places)]
    rows += [_row(f"RMSE of {name}", sums.rmse(name)[variable], places) for name in sums.references]
    rows += [_skill_row(verification, variable, name) for name in sums.references]
    rows.append(_row("mean absolute error", sums.mae(sums.model)[variable], places))
    rows.append(_row("bias", sums.bias(sums.model)[variable], places, sign=True))
    if np.isfinite(sums.acc(sums.model)[variable]).any():
        rows.append(_row("anomaly correlation", sums.acc(sums.model)[variable], 3))
    head = "".join(f"<th>{escape(label)}</th>" for label in verification.labels)
    return (
        f"<table><thead><tr><th>lead</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p>{escape(_pooled(verification, variable, places))}</p>"
    )


def _row(name: str, values: np.ndarray, places: int, sign: bool = False) -> str:
    cells = "".join(f"<td>{number(value, places, sign)}</td>" for value in values)
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _skill_row(verification: Verification, variable: int, reference: str) -> str:
    sums = verification.sums
    bounds = verification.skill_interval(reference)[:, variable]
    outcomes = verification.outcome(reference)[variable]
    cells = []
    skill = sums.skill(sums.model, reference)[variable]
    for value, low, high, outcome in zip(skill, *bounds, outcomes, strict=True):
        interval = f"<small>{percent(low)} to {percent(high)}</small>" if np.isfinite(low) else ""
        cells.append(f'<td class="{CLASSES[str(outcome)]}">{percent(value)} %{interval}</td>')
    return f"<tr><th>skill against {escape(reference)}</th>{''.join(cells)}</tr>"


def _pooled(verification: Verification, variable: int, places: int) -> str:
    sums = verification.sums
    sentences = []
    for weighting, words in (("area", "RMSE over all leads"), ("cells", "every cell counted alike")):
        pooled = {name: sums.pooled_rmse(name, weighting)[variable] for name in sums.contenders}
        others = ", ".join(f"{name} {number(pooled[name], places)}" for name in sums.references)
        sentences.append(f"{words}: {number(pooled[sums.model], places)}{f' ({others})' if others else ''}")
    return "; ".join(sentences) + "."
