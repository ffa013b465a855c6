"""Pictures of scores: error and skill against lead, and runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stconv.contenders import PERSISTENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stconv.verification.scores.result import Verification

COLORS = ("#1f5fa8", "#d1495b", "#2a9d8f", "#e9a23b", "#7b5ea7", "#6b4f3a", "#c76fa0", "#5b8c3a")
REFERENCE_STYLES = (("0.35", "--"), ("0.55", ":"), ("0.45", "-."), ("0.65", (0, (5, 1))))
DPI = 110


def skill_plot(verification: Verification, path: str | Path, weighting: str = "area") -> Path:
    """Write `skill_figure` to a file, whose suffix sets the format; returns its path."""
    return save(skill_figure(verification, weighting), path)


def skill_figure(verification: Verification, weighting: str = "area") -> Figure:
    """Draw RMSE and skill against lead, with intervals, next to the references, in a row for each variable.

    Args:
        verification: Scores to draw.
        weighting: "area" or "cells".
    """
    sums, labels = verification.sums, verification.labels
    n_rows = len(sums.variables)
    figure = new_figure(11, 0.6 + 3.6 * n_rows)
    axes = figure.subplots(n_rows, 2, squeeze=False)
    leads = np.arange(1, sums.n_leads + 1)
    for row, name in enumerate(sums.variables):
        left, right = axes[row]
        for reference, (color, line) in zip(sums.references, _cycle(REFERENCE_STYLES), strict=False):
            left.plot(
                leads, sums.rmse(reference, weighting)[row], color=color, ls=line, lw=1.8, label=reference
            )
        _line(
            left,
            leads,
            sums.rmse(sums.model, weighting)[row],
            verification.rmse_interval(sums.model, weighting)[:, row],
            COLORS[0],
            verification.model,
        )
        left.set_ylim(bottom=0)
        _lead_axis(left, labels, labelled(f"RMSE of {name}", sums.units[name]))
        left.legend(frameon=False, fontsize=9)
        for i, reference in enumerate(sums.references):
            skill = 100 * sums.skill(sums.model, reference, weighting)[row]
            bounds = 100 * verification.skill_interval(reference, weighting)[:, row]
            _line(right, leads, skill, bounds, COLORS[i % len(COLORS)], f"against {reference}")
        right.axhline(0, color="0.3", lw=1)
        _lead_axis(right, labels, f"skill of {name}, %")
        if sums.references:
            right.legend(frameon=False, fontsize=9)
    figure.suptitle(_skill_title(verification), fontsize=11)
    return figure


def compare_figure(
    rmse: Mapping[str, np.ndarray],
    skill: Mapping[str, np.ndarray],
    *,
    lead_labels: Sequence[str],
    reference: str = PERSISTENCE,
    reference_rmse: Mapping[str, np.ndarray] | None = None,
    intervals: Mapping[str, np.ndarray] | None = None,
    title: str = "",
    units: str = "",
) -> Figure:
    """Draw the RMSE and the skill of several runs against lead.

    Args:
        rmse: RMSE by run, (leads,), best run first.
        skill: Skill against the reference by run, (leads,), a fraction.
        lead_labels: Time of each lead.
        reference: Name of the reference of the skill.
        reference_rmse: RMSE by reference, (leads,).
        intervals: Bounds of the skill by run, (2, leads); a run may lack them.
        title: Title of the picture.
        units: Units of the RMSE.
    """
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2)
    leads = np.arange(1, len(lead_labels) + 1)
    for (name, values), (color, line) in zip(
        (reference_rmse or {}).items(), _cycle(REFERENCE_STYLES), strict=False
    ):
        left.plot(leads, values, color=color, ls=line, lw=1.8, label=name)
    unknown = np.full((2, len(leads)), np.nan)
    for name, color in zip(rmse, _cycle(COLORS), strict=False):
        _line(left, leads, np.asarray(rmse[name]), unknown, color, name)
        _line(
            right,
            leads,
            100 * np.asarray(skill[name]),
            100 * (intervals or {}).get(name, unknown),
            color,
            name,
        )
    right.axhline(0, color="0.3", lw=1)
    _lead_axis(left, lead_labels, labelled("RMSE", units))
    _lead_axis(right, lead_labels, f"skill against {reference}, %")
    handles, names = left.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(3, len(names)), frameon=False, fontsize=9
    )
    figure.suptitle(title, fontsize=11)
    return figure


def _skill_title(verification: Verification) -> str:
    title = verification.title
    if np.isfinite(verification.rmse_interval(verification.sums.model)).any():
        title += f" (shaded: {verification.confidence:.0%} intervals)"
    return title


def labelled(name: str, units: str) -> str:
    """Join a name and its units, as the label of an axis."""
    return ", ".join(part for part in (name, units) if part not in ("", "1"))


def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """Make an empty figure; width and height in inches."""
    from matplotlib.figure import Figure  # without pyplot: no window, and no state shared between threads

    return Figure(figsize=(width, height), layout=layout, dpi=DPI)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a picture; the suffix of the path sets its format."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.1)
    return path


def _line(
    ax: Axes, leads: np.ndarray, values: np.ndarray, bounds: np.ndarray, color: str, label: str
) -> None:
    ax.fill_between(leads, bounds[0], bounds[1], color=color, alpha=0.2, lw=0)
    ax.plot(leads, values, color=color, marker="o", ms=4, lw=2.2, label=label)


def _lead_axis(ax: Axes, labels: Sequence[str], ylabel: str) -> None:
    every = -(-len(labels) // 8)
    ax.set_xticks(np.arange(1, len(labels) + 1)[::every], [str(label) for label in labels[::every]])
    ax.set_xlabel("lead")
    ax.set_ylabel(ylabel)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _cycle(values: Sequence[Any]) -> list[Any]:
    return list(values) * 20
