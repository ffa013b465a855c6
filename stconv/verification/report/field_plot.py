"""The picture of a forecast next to the observed field and the error, at every lead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, Unpack

import numpy as np

from stconv.errors import ShapeError
from stconv.spacing import evenly_spaced
from stconv.sphere import TURN, wrapped
from stconv.verification.report.plots import labelled, new_figure, save
from stconv.verification.report.table import decimals, number, with_units
from stconv.verification.scores.sums import ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELD_COLORS, ERROR_COLORS, MISSING_COLOR = "viridis", "RdBu_r", "0.82"
CIRCLE_COLORS = "twilight"
"""Colors of directions, equal at 0 and 360 degrees."""
MAX_COLUMNS = 6
"""Largest number of leads in a picture; more leads are thinned evenly."""


class FieldLabels(TypedDict, total=False):
    """Labels and coordinates of the fields, the options of `forecast_figure`."""

    lead_labels: Required[Sequence[str]]
    valid_times: Sequence[str]
    lat: np.ndarray | None
    lon: np.ndarray | None
    geographic: bool
    title: str
    units: str
    circular: bool


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
    rows = _rows(truth, forecast, circular)
    rows, extent, aspect = _oriented(rows, lat, lon, geographic)
    shown = evenly_spaced(range(len(forecast)), MAX_COLUMNS)
    box = aspect * (extent[3] - extent[2]) / (extent[1] - extent[0])
    width = float(np.clip(2.8 / box, 1.3, 2.6))
    height = (width * box + 0.2) * len(rows) + 1.0
    figure = new_figure(width * len(shown) + 1.6, height, layout="compressed")
    axes = figure.subplots(len(rows), len(shown), squeeze=False, sharex=True, sharey=True)
    physical = [fields for name, fields in rows.items() if name != "error"]
    field_limits, colors = (
        ((0.0, TURN), CIRCLE_COLORS) if circular else (_field_limits(physical), FIELD_COLORS)
    )
    for of_row, (name, fields) in zip(axes, rows.items(), strict=True):
        is_error = name == "error"
        low, high = _symmetric(fields) if is_error else field_limits
        for ax, lead in zip(of_row, shown, strict=True):
            image = ax.imshow(
                fields[lead],
                origin="lower",
                extent=extent,
                aspect=aspect,
                interpolation="nearest",
                cmap=_color_map(ERROR_COLORS if is_error else colors),
                vmin=low,
                vmax=high,
            )
            ax.tick_params(labelsize=7, length=2, color="0.6")
            ax.locator_params(nbins=4)
        if len(rows) > 1:
            of_row[0].set_ylabel(name, fontsize=11)
        if name != "truth":  # its scale is that of the forecast below
            spanned = axes[:2] if name == "forecast" and truth is not None else of_row
            extend = _clipped(fields if is_error else np.concatenate(physical), low, high)
            bar = figure.colorbar(image, ax=spanned.ravel().tolist(), pad=0.015, fraction=0.05, extend=extend)
            bar.set_label(labelled("error" if is_error else "", units), fontsize=9)
            bar.ax.tick_params(labelsize=8)
    _label_leads(axes[0], shown, lead_labels, _short_times(valid_times))
    if "error" in rows:
        _label_errors(axes[-1], shown, _rms(rows["error"]), units)
    figure.supxlabel(_axis_label("longitude, degrees east", "column", lon, geographic), fontsize=9)
    figure.supylabel(_axis_label("latitude, degrees north", "row", lat, geographic), fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _rows(truth: np.ndarray | None, forecast: np.ndarray, circular: bool) -> dict[str, np.ndarray]:
    """Return the fields of each row of the picture by its name."""
    forecast = np.asarray(forecast, dtype=float)
    if forecast.ndim != 3:
        raise ShapeError(f"The forecast to draw is {forecast.shape}; expected (leads, lat, lon).")
    if truth is None:
        return {"forecast": forecast}
    truth = np.asarray(truth, dtype=float)
    if truth.shape != forecast.shape:
        raise ShapeError(f"The truth to draw is {truth.shape}, the forecast {forecast.shape}.")
    error = wrapped(forecast - truth) if circular else forecast - truth
    return {"truth": truth, "forecast": forecast, "error": error}


def _label_leads(axes: np.ndarray, shown: Sequence[int], leads: Sequence[str], times: Sequence[str]) -> None:
    for ax, lead in zip(axes, shown, strict=True):
        when = f"\n{times[lead]}" if times else ""
        ax.set_title(f"+{leads[lead]}{when}", fontsize=9)


def _label_errors(axes: np.ndarray, shown: Sequence[int], rms: np.ndarray, units: str) -> None:
    places = decimals(rms)
    for ax, lead in zip(axes, shown, strict=True):
        ax.set_xlabel(with_units(f"RMS {number(rms[lead], places)}", units), fontsize=8)


def _axis_label(degrees: str, number: str, coordinate: np.ndarray | None, geographic: bool) -> str:
    if coordinate is None:
        return number
    return degrees if geographic else f"coordinate of the {number}"


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
    """Leave out the lowest and highest 0.5 %, unless they hold most of the range, as rain in a few cells."""
    values = np.concatenate([field[np.isfinite(field)] for field in fields])
    if not values.size:
        return 0.0, 1.0
    low, high = np.quantile(values, [0.005, 0.995])
    if high - low < np.ptp(values) / 3:
        low, high = values.min(), values.max()
    return float(low), float(high) if high > low else float(high + 1e-12)


def _clipped(fields: np.ndarray, low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    """Ends of a color scale beyond which there are values."""
    below, above = bool(np.nanmin(fields, initial=low) < low), bool(np.nanmax(fields, initial=high) > high)
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


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
