"""Pictures: error and skill against lead, a forecast next to the observed field, runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, Unpack

import numpy as np

from stconv.contenders import PERSISTENCE
from stconv.errors import ShapeError
from stconv.spacing import evenly_spaced
from stconv.sphere import TURN, wrapped
from stconv.verification.report.table import decimals, number, with_units
from stconv.verification.scores.sums import ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stconv.verification.scores.result import Verification

COLORS = ("#1f5fa8", "#d1495b", "#2a9d8f", "#e9a23b", "#7b5ea7", "#6b4f3a", "#c76fa0", "#5b8c3a")
REFERENCE_STYLES = (("0.35", "--"), ("0.55", ":"), ("0.45", "-."), ("0.65", (0, (5, 1))))
FIELD_COLORS, ERROR_COLORS, MISSING_COLOR = "viridis", "RdBu_r", "0.82"
CIRCLE_COLORS = "twilight"
"""Colors of directions, equal at 0 and 360 degrees."""
MAX_COLUMNS = 6
"""Largest number of leads in a picture; more leads are thinned evenly."""
DPI = 110


class FieldLabels(TypedDict, total=False):
    """What `forecast_figure` writes next to the fields."""

    lead_labels: Required[Sequence[str]]
    valid_times: Sequence[str]
    lat: np.ndarray | None
    lon: np.ndarray | None
    geographic: bool
    title: str
    units: str
    circular: bool


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
    figure = _figure(11, 0.6 + 3.6 * n_rows)
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
        _lead_axis(left, labels, _labelled(f"RMSE of {name}", sums.units[name]))
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


def forecast_plot(
    truth: np.ndarray | None, forecast: np.ndarray, path: str | Path, **options: Unpack[FieldLabels]
) -> Path:
    """Write `forecast_figure` to a file, whose suffix sets the format; returns its path."""
    return save(forecast_figure(truth, forecast, **options), path)


def forecast_figure(
    truth: np.ndarray | None,
    forecast: np.ndarray,
    *,
    lead_labels: Sequence[str],
    valid_times: Sequence[str] = (),
    lat: np.ndarray | None = None,
    lon: np.ndarray | None = None,
    geographic: bool = True,
    title: str = "",
    units: str = "",
    circular: bool = False,
) -> Figure:
    """Draw truth, forecast and error at every lead, on shared color scales, north up, missing cells gray.

    Args:
        truth: Observed fields, (leads, lat, lon), NaN is missing; None draws the forecast alone.
        forecast: Forecast fields, (leads, lat, lon), in the same units.
        lead_labels: Time of each lead ("6 h").
        valid_times: Valid time of each field, as text; empty if unknown.
        lat: Coordinate of the rows, degrees north or projected, either direction; None: row number.
        lon: Coordinate of the columns, degrees east or projected; None: column number.
        geographic: Whether rows and columns are degrees; widths are then scaled by the middle latitude.
        title: Title of the picture.
        units: Units of the fields.
        circular: Whether the fields are directions in degrees, drawn in colors that meet at 0 and 360; errors
            are smallest angles.

    Raises:
        ShapeError: Truth and forecast differ in shape, or are not (leads, lat, lon).
    """
    forecast = np.asarray(forecast, dtype=float)
    if forecast.ndim != 3:
        raise ShapeError(f"The forecast to draw is {forecast.shape}; expected (leads, lat, lon).")
    rows = {"forecast": forecast}
    if truth is not None:
        truth = np.asarray(truth, dtype=float)
        if truth.shape != forecast.shape:
            raise ShapeError(f"The truth to draw is {truth.shape}, the forecast {forecast.shape}.")
        rows = {
            "truth": truth,
            "forecast": forecast,
            "error": wrapped(forecast - truth) if circular else forecast - truth,
        }
    rows, extent, aspect = _oriented(rows, lat, lon, geographic)

    times = _short_times(valid_times)
    n_leads = len(forecast)
    shown = evenly_spaced(range(n_leads), MAX_COLUMNS)
    box = aspect * (extent[3] - extent[2]) / (extent[1] - extent[0])
    width = float(np.clip(2.8 / box, 1.3, 2.6))
    height = width * box
    figure = _figure(width * len(shown) + 1.6, (height + 0.2) * len(rows) + 1.0, layout="compressed")
    axes = figure.subplots(len(rows), len(shown), squeeze=False, sharex=True, sharey=True)
    limits = {"error": _symmetric(rows["error"])} if "error" in rows else {}
    places = decimals(_rms(rows["error"])) if "error" in rows else 0
    field_limits = (
        (0.0, TURN) if circular else _field_limits([rows[name] for name in rows if name != "error"])
    )
    colors = CIRCLE_COLORS if circular else FIELD_COLORS
    for row, (name, fields) in enumerate(rows.items()):
        low, high = limits.get(name, field_limits)
        for column, lead in enumerate(shown):
            ax = axes[row, column]
            image = ax.imshow(
                fields[lead],
                origin="lower",
                extent=extent,
                aspect=aspect,
                interpolation="nearest",
                cmap=_color_map(ERROR_COLORS if name == "error" else colors),
                vmin=low,
                vmax=high,
            )
            ax.tick_params(labelsize=7, length=2, color="0.6")
            ax.locator_params(nbins=4)
            if row == 0:
                when = f"\n{times[lead]}" if times else ""
                ax.set_title(f"+{lead_labels[lead]}{when}", fontsize=9)
            if name == "error":
                rmse = _rms(fields)[lead]
                ax.set_xlabel(with_units(f"RMS {number(rmse, places)}", units), fontsize=8)
        axes[row, 0].set_ylabel(name, fontsize=11)
        last_of_scale = name != "truth"
        if last_of_scale:
            spanned = axes[:2] if name == "forecast" and truth is not None else axes[row]
            bar = figure.colorbar(image, ax=spanned.ravel().tolist(), pad=0.015, fraction=0.05, extend="both")
            bar.set_label(_labelled("error" if name == "error" else "", units), fontsize=9)
            bar.ax.tick_params(labelsize=8)
    figure.supxlabel(_axis_label("longitude, degrees east", "column", lon, geographic), fontsize=9)
    figure.supylabel(_axis_label("latitude, degrees north", "row", lat, geographic), fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _axis_label(degrees: str, number: str, coordinate: np.ndarray | None, geographic: bool) -> str:
    if coordinate is None:
        return number
    return degrees if geographic else f"coordinate of the {number}"


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
    figure = _figure(11, 4.4)
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
    _lead_axis(left, lead_labels, _labelled("RMSE", units))
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


def _labelled(name: str, units: str) -> str:
    return ", ".join(part for part in (name, units) if part not in ("", "1"))


def _figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
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


def _oriented(
    rows: dict[str, np.ndarray], lat: np.ndarray | None, lon: np.ndarray | None, geographic: bool
) -> tuple[dict[str, np.ndarray], tuple[float, float, float, float], float]:
    """South at the bottom, west at the left; edges of the picture; height of a unit to its width."""
    n_lat, n_lon = next(iter(rows.values())).shape[1:]
    geographic = geographic and lat is not None and lon is not None
    lat = np.arange(n_lat) if lat is None else np.asarray(lat, float)
    lon = np.arange(n_lon) if lon is None else np.asarray(lon, float)
    flips = tuple(axis for axis, x in ((1, lat), (2, lon)) if x[0] > x[-1])
    rows = {name: np.flip(fields, flips) for name, fields in rows.items()}
    aspect = min(3.0, 1 / np.cos(np.deg2rad(lat.mean()))) if geographic else 1.0
    return rows, (*_edges(lon), *_edges(lat)), float(aspect)


def _edges(x: np.ndarray) -> tuple[float, float]:
    half = abs(x[-1] - x[0]) / (len(x) - 1) / 2 if len(x) > 1 else 0.5
    return float(min(x[0], x[-1]) - half), float(max(x[0], x[-1]) + half)


def _field_limits(fields: list[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    if not values.size:
        return 0.0, 1.0
    low, high = np.quantile(values, [0.005, 0.995])
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max() + 1e-12))


def _short_times(times: Sequence[str]) -> list[str]:
    """Shorten ISO times: without T, and without seconds and hours that are all zero."""
    short = [str(time).replace("T", " ") for time in times]
    for zeros in (":00", " 00:00"):
        if all(len(time) > len("2000-01-01") and time.endswith(zeros) for time in short):
            if zeros == ":00" and any(time.count(":") < 2 for time in short):
                continue
            short = [time.removesuffix(zeros) for time in short]
    return short


def _rms(fields: np.ndarray) -> np.ndarray:
    n = np.isfinite(fields).sum((1, 2))
    return ratio(np.sqrt(np.nansum(fields**2, (1, 2))), np.sqrt(n))


def _symmetric(error: np.ndarray) -> tuple[float, float]:
    values = np.abs(error[np.isfinite(error)])
    largest = float(np.quantile(values, 0.995)) if values.size else 0.0
    largest = largest or 1.0
    return -largest, largest


def _color_map(name: str) -> Any:
    import matplotlib as mpl

    return mpl.colormaps[name].with_extremes(bad=MISSING_COLOR)


def _cycle(values: Sequence[Any]) -> list[Any]:
    return list(values) * 20
