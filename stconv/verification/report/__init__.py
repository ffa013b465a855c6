"""The report of a verification: one HTML page that loads no other file and needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stconv.verification.report import sections
from stconv.verification.report.page import html_page, paragraph, section, tile
from stconv.verification.report.summary import limits, method, summary
from stconv.verification.report.table import decimals, number, percent, with_units
from stconv.verification.scores.case import Case

if TYPE_CHECKING:
    from stconv.verification.scores.result import Verification

DETAILS = (
    sections.error_maps,
    sections.sharpness,
    sections.events,
    sections.uncertainty,
    sections.slices,
)


def write_report(
    verification: Verification,
    path: str | Path,
    *,
    case: Case | None = None,
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write the page: the verdict first, then the evidence.

    Sections on maps, spectra, events, uncertainty, seasons and regions appear if
    `verification.diagnostics` has "maps", "spectra", "thresholds", "exceedance", "calibration" and "slices".

    Args:
        verification: Scores to report.
        path: File to write.
        case: A forecast to show step by step.
        about: Facts on data and model, by heading.

    Returns:
        The path.
    """
    variables = range(len(verification.sums.variables))
    body = [
        _header(verification),
        _verdict(verification),
        *(sections.scores(verification, variable) for variable in variables),
        sections.case_player(verification, case),
        *(part(verification, variable) for variable in variables for part in DETAILS),
        _facts(about or {}),
        section("What this does not show", _list(limits(verification))),
        section("How it was measured", *(paragraph(text) for text in method(verification))),
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html_page(verification.title, body))
    return path


def _header(verification: Verification) -> str:
    labels = verification.labels
    period = f", {verification.period[0]} to {verification.period[1]}" if verification.period else ""
    return (
        f"<header><h1>{escape(verification.model)} on {escape(verification.data)}</h1>"
        f'<p class="soft">Forecasts of {escape(", ".join(verification.sums.variables))}, '
        f"{escape(labels[0])} to {escape(labels[-1])} ahead, beside what happened: "
        f"{verification.sums.n_windows} forecasts on data the model had never "
        f"seen{escape(period)}.</p></header>"
    )


def _verdict(verification: Verification) -> str:
    sums = verification.sums
    css = verification.overall().split()[0]
    sentences = "".join(
        f"<p><strong>{escape(line)}</strong></p>" for line in verification.verdict().split("\n")
    )
    notes = "".join(f"<p>{escape(line)}</p>" for line in [*summary(verification), *verification.warnings()])
    tiles = "".join(_tiles(verification, variable) for variable in range(len(sums.variables)))
    return f'<div class="verdict {css}">{sentences}{notes}<div class="tiles">{tiles}</div></div>'


def _tiles(verification: Verification, variable: int) -> str:
    sums, name = verification.sums, verification.sums.variables[variable]
    pooled = sums.pooled_rmse(sums.model)[variable]
    places = decimals(sums.rmse(sums.model)[variable])
    of = f" of {name}" if len(sums.variables) > 1 else ""
    units = sums.units[name]
    tiles = [tile(with_units(number(pooled, places), units), f"typical error{of} over all leads")]
    for reference in sums.references:
        skill = sums.pooled_skill(sums.model, reference)[variable]
        theirs = with_units(number(sums.pooled_rmse(reference)[variable], places), units)
        css = "" if abs(skill) < 0.005 else "beats" if skill > 0 else "loses"
        words = f"{'less' if skill > 0 else 'more'} error{of} than {reference} ({theirs})"
        if np.isfinite(skill):
            tiles.append(tile(f"{percent(abs(skill)).lstrip('+')} %", words, css))
    return "".join(tiles)


def _facts(about: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in about.items())
    return section("Data and model", f"<dl>{rows}</dl>") if rows else ""


def _list(sentences: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in sentences)}</ul>" if sentences else ""


__all__ = ["write_report"]
