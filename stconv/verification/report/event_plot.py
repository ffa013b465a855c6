"""A picture of the quality of event probabilities: reliability, and skill against lead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stconv.contenders import BASELINES
from stconv.verification.report.plots import COLORS, DPI

if TYPE_CHECKING:
    from stconv.verification.scores.result import Verification


def event_plot(verification: Verification, path: str | Path) -> Path:
    """Draw a reliability diagram over all leads and the Brier skill, in a row for each event or class.

    The size of a point is the share of forecasts in its bin; points on the diagonal are reliable,
    and the horizontal line is the frequency of the event.

    Args:
        verification: With the diagnostics "event" and "calibration".
        path: File to write; its suffix sets the format.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    scores, bins = (verification.diagnostics[name] for name in ("event", "calibration"))
    names = [str(name) for name in scores["variable"].values]
    figure = Figure(figsize=(9.5, 0.5 + 4 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    leads = np.arange(1, scores.sizes["lead"] + 1)
    for row, name in enumerate(names):
        of_bins, of_scores = bins.sel(variable=name), scores.sel(variable=name)
        count = of_bins["bin_count"].fillna(0)
        total = count.sum("lead")
        with np.errstate(invalid="ignore"):
            chance, happened = (
                ((of_bins[key].fillna(0) * count).sum("lead") / total).values
                for key in ("bin_probability", "bin_frequency")
            )
        ax = axes[row, 0]
        ax.plot([0, 1], [0, 1], color="0.6", lw=1)
        ax.axhline(float(of_scores["frequency"].mean()), color="0.6", lw=1, ls=":")
        ax.plot(chance, happened, color=COLORS[0], lw=1)
        ax.scatter(chance, happened, s=15 + 400 * (total / total.sum()).values, color=COLORS[0], alpha=0.7)
        ax.set(
            xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal",
            xlabel=f"forecast probability of {name}", ylabel="observed frequency",
        )  # fmt: skip
        ax = axes[row, 1]
        for i, reference in enumerate(BASELINES):
            if f"brier_skill_{reference}" in of_scores:
                ax.plot(
                    leads, 100 * of_scores[f"brier_skill_{reference}"],
                    color=COLORS[i], marker="o", label=f"vs {reference}",
                )  # fmt: skip
        ax.axhline(0, color="0.4", lw=1)
        ax.set_xticks(leads, verification.labels, rotation=30 if len(leads) > 6 else 0)
        ax.set(xlabel="lead", ylabel="Brier skill, %")
        ax.legend(frameon=False)
    figure.suptitle(verification.title, fontsize=10)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
