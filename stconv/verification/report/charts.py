"""Curves of the report, as SVG inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stconv.contenders import CLIMATOLOGY, DAMPED_PERSISTENCE, LINEAR_3X3, MODEL, OPTICAL_FLOW, PERSISTENCE
from stconv.verification.report.plots import COLORS, DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stconv.verification.scores.result import Verification

INK, SOFT = "#1c2733", "#66788a"
MODEL_COLOR = "#1f5fa8"
LINES = {
    PERSISTENCE: ("#8a6d3b", "--"),
    CLIMATOLOGY: ("#7d8894", ":"),
    DAMPED_PERSISTENCE: ("#c2571a", "-."),
    LINEAR_3X3: ("#2a7f62", (0, (4, 1.5))),
    OPTICAL_FLOW: ("#7b4fa3", (0, (2, 1.5))),
}
WIDTH, HEIGHT = 5.4, 3.5


def error_chart(verification: Verification, variable: int) -> str:
    """RMSE against lead, with the interval of the model, next to the references."""
    sums = verification.sums
    figure, ax = _chart()
    leads = np.arange(1, sums.n_leads + 1)
    for name in sums.references:
        ax.plot(leads, sums.rmse(name)[variable], label=name, lw=1.6, **_style(name, sums.references))
    low, high = verification.rmse_interval(sums.model)[:, variable]
    ax.fill_between(leads, low, high, color=MODEL_COLOR, alpha=0.2, lw=0)
    ax.plot(
        leads,
        sums.rmse(sums.model)[variable],
        color=MODEL_COLOR,
        marker="o",
        ms=4.5,
        lw=2.6,
        label="this model",
    )
    ax.set_ylim(bottom=0)
    units = sums.units[sums.variables[variable]]
    _leads(ax, verification.labels, f"RMSE{f', {units}' if units not in ('', '1') else ''}")
    _legend(figure, ax)
    return _svg(figure)


def skill_chart(verification: Verification, variable: int) -> str:
    """Skill against each reference, with intervals."""
    sums = verification.sums
    figure, ax = _chart()
    leads = np.arange(1, sums.n_leads + 1)
    ax.axhline(0, color=INK, lw=1)
    for name in sums.references:
        style = _style(name, sums.references)
        low, high = 100 * verification.skill_interval(name)[:, variable]
        ax.fill_between(leads, low, high, color=style["color"], alpha=0.18, lw=0)
        skill = 100 * sums.skill(sums.model, name)[variable]
        ax.plot(leads, skill, marker="o", ms=3.5, lw=1.8, label=f"against {name}", **style)
    _leads(ax, verification.labels, "skill, %")
    _legend(figure, ax)
    return _svg(figure)


def spectra_chart(ds: xr.Dataset, label: str) -> str:
    """Power against wavelength at the last lead: truth, model, persistence."""
    figure, ax = _chart()
    styles = {
        "truth": (INK, "-", 2.2),
        MODEL: (MODEL_COLOR, "-", 2.2),
        PERSISTENCE: ("#8a6d3b", "--", 1.4),
    }
    for name in ds["contender"].values:
        color, line, width = styles[str(name)]
        power = ds["power"].sel(contender=name).isel(lead=-1)
        label_of = {MODEL: "this model"}.get(str(name), str(name))
        ax.loglog(ds["wavelength"], np.where(power > 0, power, np.nan), color=color, ls=line, lw=width,
                  label=label_of)  # fmt: skip
    ax.invert_xaxis()
    ax.set_xlabel(f"wavelength, cells (long waves left), at {label}")
    ax.set_ylabel("power")
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    _legend(figure, ax)
    return _svg(figure)


def reliability_chart(ds: xr.Dataset) -> str:
    """Observed frequency of the event against its forecast probability, over all leads."""
    figure, ax = _chart(3.8, 3.8)
    count = ds["bin_count"]
    chance, happened = (
        (ds[key] * count).sum("lead") / count.sum("lead") for key in ("bin_probability", "bin_frequency")
    )
    ax.plot([0, 1], [0, 1], color=SOFT, ls="--", lw=1.2, label="perfect")
    ax.plot(chance, happened, color=MODEL_COLOR, marker="o", lw=2, label="this model")
    share = count.sum("lead") / count.sum()
    ax.bar(
        np.arange(0.05, 1, 0.1), share, width=0.08, color=MODEL_COLOR, alpha=0.15, label="share of forecasts"
    )
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="forecast probability", ylabel="observed frequency")
    _finish(ax)
    _legend(figure, ax)
    return _svg(figure)


def coverage_chart(ds: xr.Dataset, labels: Sequence[str]) -> str:
    """Coverage of each band against lead, next to its nominal coverage."""
    figure, ax = _chart()
    leads = np.arange(1, len(labels) + 1)
    for level, color in zip(ds["level"].values, COLORS, strict=False):
        ax.axhline(100 * level, color=color, ls="--", lw=1.2)
        coverage = 100 * ds["coverage"].sel(level=level)
        ax.plot(leads, coverage, color=color, marker="o", lw=2, label=f"{level:.0%} band (dashed: nominal)")
    _leads(ax, labels, "truths inside, %")
    _legend(figure, ax)
    return _svg(figure)


def rank_chart(ds: xr.Dataset) -> str:
    """Rank of the truth among the ensemble members, over all leads."""
    figure, ax = _chart(4.6, 2.8)
    share = 100 * ds["rank_frequency"].mean("lead")
    ax.bar(np.arange(len(share)), share, color=MODEL_COLOR, width=0.9)
    ax.axhline(100 / len(share), color=INK, ls="--", lw=1.2, label="as it should be")
    ax.set(xlabel="rank of the truth among the members", ylabel="cases, %")
    _finish(ax)
    _legend(figure, ax)
    return _svg(figure)


def _style(name: str, references: Sequence[str]) -> dict[str, Any]:
    others = [reference for reference in references if reference not in LINES]
    color, line = LINES.get(name) or (COLORS[1 + others.index(name) % (len(COLORS) - 1)], "-")
    return {"color": color, "ls": line}


def _chart(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    return figure, figure.subplots()


def _leads(ax: Axes, labels: Sequence[str], ylabel: str) -> None:
    every = -(-len(labels) // 8)
    ax.set_xticks(np.arange(1, len(labels) + 1)[::every], [str(label) for label in labels[::every]])
    ax.set_ylabel(ylabel)
    _finish(ax)


def _finish(ax: Axes) -> None:
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=INK, labelsize=10)


def _legend(figure: Figure, ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9.5, handlelength=2.6)


def _svg(figure: Figure) -> str:
    """The SVG as a `data:` address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
