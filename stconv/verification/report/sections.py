"""The sections of the report; a section without content is empty."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stconv.contenders import MODEL
from stconv.digits import both_ends
from stconv.sphere import TURN, wrapped
from stconv.verification.report import charts, pixels
from stconv.verification.report.bands import ADAPTED, about_bands
from stconv.verification.report.field_plot import CIRCLE_COLORS, ERROR_COLORS, FIELD_COLORS
from stconv.verification.report.page import color_bar, figure, paragraph, section, table
from stconv.verification.report.table import PRECISE, SAYING, decimals, number, percent, with_units
from stconv.verification.scores.case import Case
from stconv.verification.scores.sums import ratio
from stconv.verification.scores.verdict import BEATS, LOSES, UNDECIDED

if TYPE_CHECKING:
    from stconv.verification.scores.result import Verification

CLASSES = {BEATS: "beats", LOSES: "loses", UNDECIDED: "undecided"}
EVENTS_EXPLAINED = (
    "CSI: of all cells where the event happened or was forecast, the share that was both; 1 is perfect. "
    "POD: share of the events that were forecast. FAR: share of the forecasts that were wrong. FSS "
    "compares shares of events in a neighborhood, so that a near miss counts for something."
)
COMPARED = {name: {MODEL: "this model"}.get(name, name) for name in SAYING}
SHORT_WAVES = 0.5
"""The half of the bands with the shortest wavelengths."""


def scores(verification: Verification, variable: int) -> str:
    """Curves and the table of scores per lead."""
    sums, name = verification.sums, verification.sums.variables[variable]
    places = decimals(sums.rmse(sums.model)[variable])

    def row(values: np.ndarray, digits: int = places, sign: bool = False) -> list[str]:
        return [number(value, digits, sign) for value in values]

    rows: list[tuple[str, list[str]]] = [("this model", row(sums.rmse(sums.model)[variable]))]
    n = len(sums.references)
    rows += [(other, row(sums.rmse(other)[variable])) for other in sums.references]
    rows += [
        (f"skill against {other}", _skill_cells(verification, variable, other)) for other in sums.references
    ]
    extra = [
        ("mean absolute error", row(sums.mae(sums.model)[variable])),
        ("bias (forecast minus truth)", row(sums.bias(sums.model)[variable], sign=True)),
        ("anomaly correlation", row(sums.acc(sums.model)[variable], 3)),
    ]
    similarity = verification.diagnostic("similarity", variable)
    if similarity is not None:
        alike = similarity.sel(contender=sums.model)
        extra += [("PSNR, dB", row(alike["psnr"].values, 1)), ("SSIM", row(alike["ssim"].values, 3))]
    rows += [(title, cells) for title, cells in extra if any(cell != "-" for cell in cells)]
    css = ["main", *["gap" if i in (n, 2 * n) else "" for i in range(len(rows) - 1)]]
    units = sums.units[name]
    return section(
        f"Error and skill of {name}, lead by lead",
        paragraph(
            "Left: the typical error (root mean square) grows with the lead. Right: how much of each "
            "reference's error that the model removes; above 0 it is better than that reference."
        ),
        '<div class="pair">',
        figure(charts.error_chart(verification, variable), "Typical error against lead; lower is better"),
        figure(charts.skill_chart(verification, variable), "Skill against lead; higher is better"),
        "</div>",
        table([with_units("RMSE", units), *verification.labels], rows, css),
        paragraph(
            f"Small numbers: {verification.confidence:.0%} intervals of the skill. Green: significantly "
            "better;  red: significantly worse; brown: undecided.",
            "soft",
        ),
    )


def _skill_cells(verification: Verification, variable: int, reference: str) -> list[str]:
    sums = verification.sums
    bounds = verification.skill_interval(reference)[:, variable]
    cells = []
    for value, low, high, outcome in zip(
        sums.skill(sums.model, reference)[variable],
        *bounds,
        verification.outcome(reference)[variable],
        strict=True,
    ):
        interval = f"<small>{percent(low)} to {percent(high)}</small>" if np.isfinite(low) else ""
        cells.append(f'<td class="{CLASSES[str(outcome)]}">{percent(value)} %{interval}</td>')
    return cells


def error_maps(verification: Verification, variable: int) -> str:
    """RMSE, bias and skill of each cell at the first and the last lead."""
    here = verification.diagnostic("maps", variable)
    if here is None or min(here.sizes["row"], here.sizes["column"]) < 2:
        return ""
    sums, name = verification.sums, verification.sums.variables[variable]
    rmse, bias = (here[key].sel(contender=sums.model) for key in ("rmse", "bias"))
    reference = best_reference(verification, variable)
    leads = sorted({0, sums.n_leads - 1})
    chosen = [(lead, verification.labels[lead]) for lead in leads]
    top = _top(rmse.isel(lead=leads).values)
    widest = _top(np.abs(bias.isel(lead=leads).values))
    units, parts = sums.units[name], []
    for lead, label in chosen:
        parts.append(_map(rmse.isel(lead=lead).values, 0, top, f"typical error at {label}", units))
    for lead, label in chosen:
        caption = f"bias at {label}: red too high, blue too low"
        parts.append(_map(bias.isel(lead=lead).values, -widest, widest, caption, units, ERROR_COLORS))
    if reference is not None:
        for lead, label in chosen:
            ours, theirs = (
                rmse.isel(lead=lead).values,
                here["rmse"].sel(contender=reference, lead=lead + 1).values,
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                skill = 100 * (1 - np.where(theirs > 0, ours / theirs, np.nan))
            caption = f"skill against {reference} at {label}: blue better, red worse"
            parts.append(_map(-skill, -50, 50, caption, "%", ERROR_COLORS, ends=("+50 %", "-50 %")))
    rows = "latitude" if here.attrs.get("geographic", 1) else "y"
    columns = "longitude" if here.attrs.get("geographic", 1) else "x"
    lat, lon = here["lat"].values, here["lon"].values
    return section(
        f"Where the errors of {name} are",
        paragraph(
            f"Every cell over all test windows: {rows} {lat[0]:g} to {lat[-1]:g}, {columns} {lon[0]:g} to "
            f"{lon[-1]:g}, north up. Gray cells have no truth."
        ),
        f'<div class="maps">{"".join(parts)}</div>',
    )


def _map(
    field: np.ndarray,
    low: float,
    high: float,
    caption: str,
    units: str,
    colors: str = FIELD_COLORS,
    ends: tuple[str, str] | None = None,
) -> str:
    first, last = ends or (_with(end, units) for end in both_ends(low, high))
    return (
        f'<figure><img class="field" src="{pixels.picture(field, low, high, colors)}" '
        f'alt="{escape(caption)}">'
        f"{color_bar(pixels.gradient(colors), first, last)}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def case_player(verification: Verification, case: Case | None) -> str:
    """Truth, forecast and error of one window, lead by lead, with a slider."""
    if case is None or min(case.truth.shape[-2:]) < 2:
        return ""
    parts = []
    for variable, name in enumerate(verification.sums.variables):
        units = verification.sums.units[name]
        truth, forecast = case.truth[variable], case.forecast[variable]
        known = np.concatenate([truth[np.isfinite(truth)], forecast[np.isfinite(forecast)]])
        low, high = (float(x) for x in np.quantile(known, [0.005, 0.995])) if known.size else (0.0, 1.0)
        errors, colors = forecast - truth, FIELD_COLORS
        if name in verification.sums.circular:
            low, high, errors, colors = 0.0, TURN, wrapped(errors), CIRCLE_COLORS
        widest = _top(np.abs(errors))
        frames = []
        for lead, label in enumerate(verification.labels):
            error = errors[lead]
            maps = (
                _map(truth[lead], low, high, "what happened", units, colors)
                + _map(forecast[lead], low, high, "what was forecast", units, colors)
                + _map(error, -widest, widest, "forecast minus truth", units, ERROR_COLORS)
            )
            frames.append(
                f'<div class="maps" data-frame="+{escape(label)}: {escape(case.valid_times[lead])}"'
                f"{' hidden' if lead else ''}>{maps}</div>"
            )
        heading = f"<h3>{escape(name)}</h3>" if len(verification.sums.variables) > 1 else ""
        slider = (
            '<div class="player"><button type="button">Play</button>'
            f'<input type="range" min="0" max="{len(frames) - 1}" value="0" aria-label="lead">'
            f"<output>+{escape(verification.labels[0])}</output></div>"
        )
        parts.append(f"<div data-case>{heading}{slider}{''.join(frames)}</div>")
    return section(
        "One forecast, step by step",
        paragraph(
            f"Made from the data known at {case.reference_time}. This is the test window with the median "
            "error: half of the forecasts are better, half are worse."
        ),
        *parts,
    )


def sharpness(verification: Verification, variable: int) -> str:
    """Spectra, and the share of fine structure in words."""
    ds = verification.diagnostic("spectra", variable)
    if ds is None or ds.sizes["band"] < 3:
        return ""
    power = ds["power"]
    fine = power.isel(band=slice(int(ds.sizes["band"] * SHORT_WAVES), None)).sum("band")
    share = 100 * ratio(fine.sel(contender=MODEL).values, fine.sel(contender="truth").values)
    left = [float(share[0]), float(share[-1])]
    verdict = (
        "The forecast is smoother than reality: fine structures fade as uncertainty grows."
        if left[1] < 80
        else "The forecast is rougher than reality."
        if left[1] > 125
        else "The forecast is about as sharp as reality."
    )
    return section(
        f"Is the forecast of {verification.sums.variables[variable]} too smooth?",
        paragraph(
            f"{verdict} Of the truth's variance in short waves the forecast holds {left[0]:.0f} % at "
            f"{verification.labels[0]} and {left[1]:.0f} % at {verification.labels[-1]}. A smooth "
            "forecast can have a small error and still miss extremes."
        ),
        figure(
            charts.spectra_chart(ds, verification.labels[-1]),
            "Variance by wavelength: where the blue line lies below the black one, detail is missing",
        ),
    )


CHANCE_SCORES = {
    "brier_skill": "Brier skill of the forecast probability against its frequency here",
    "reliability": "reliability term of the Brier score, 0 is perfect",
}
"""Scores of the probability of an event, in words."""


def events(verification: Verification, variable: int) -> str:
    """Scores of the thresholds."""
    ds = verification.diagnostic("thresholds", variable)
    if ds is None:
        return ""
    name = verification.sums.variables[variable]
    parts = []
    for i, value in enumerate(ds["value"].values):
        if not np.isfinite(value):
            continue
        here = ds.isel(threshold=i)
        rows: list[tuple[str, list[str]]] = []
        for title, score, scale in _event_rows(ds):
            values = here[score] if scale is None else here[score].sel(scale=scale)
            for contender, who in COMPARED.items():
                if contender not in ds["contender"]:
                    continue
                numbers = [number(x, 2) for x in values.sel(contender=contender).values]
                rows.append((f"{title}, {who}", numbers))
        chances = verification.diagnostic("exceedance", variable)
        if chances is not None:
            rows += [
                (words, [number(x, 3) for x in chances[key].isel(threshold=i).values])
                for key, words in CHANCE_SCORES.items()
            ]
        units = verification.sums.units[name]
        n = int(here["n_events"].sel(contender=MODEL).sum())
        parts.append(f"<h3>At least {escape(_with(f'{value:.{PRECISE}g}', units))}</h3>")
        parts.append(table(["", *verification.labels], rows))
        if chances is not None:
            caption = "When the event is forecast with 70 %, does it happen 7 times in 10?"
            parts.append(figure(charts.reliability_chart(chances.isel(threshold=i)), caption))
        parts.append(paragraph(f"{n:,} events in cells and leads of the test.", "soft"))
    return section(
        f"Events of {name}",
        paragraph(EVENTS_EXPLAINED) if parts else "",
        *parts,
    )


def _event_rows(ds: xr.Dataset) -> list[tuple[str, str, int | None]]:
    """Heading, score and scale of each row."""
    rows: list[tuple[str, str, int | None]] = [
        ("CSI", "csi", None),
        ("found (POD)", "pod", None),
        ("false alarms (FAR)", "far", None),
        ("frequency bias", "frequency_bias", None),
        ("mean absolute error where the truth is", "mae", None),
    ]
    return rows + [(f"FSS, {scale} x {scale} cells", "fss", int(scale)) for scale in ds["scale"].values]


def uncertainty(verification: Verification, variable: int) -> str:
    """Calibration of bands and probabilities; see `Calibration` in `scores.calibration`."""
    ds = verification.diagnostic("calibration", variable)
    if ds is None:
        return ""
    name = verification.sums.variables[variable]
    units = verification.sums.units[name]
    parts: list[str] = []
    rows: list[tuple[str, list[str]]] = []
    if "coverage" in ds:
        caption = "Coverage of the bands: the lines should lie on the dashed ones"
        parts.append(figure(charts.coverage_chart(ds, verification.labels), caption))
        for level in ds["level"].values:
            covered = 100 * ds["coverage"].sel(level=level).values
            rows.append((f"inside the {level:.0%} band, %", [number(x, 1) for x in covered]))
            if "fixed_coverage" in ds:
                fixed = 100 * ds["fixed_coverage"].sel(level=level).values
                rows.append((f"inside the {level:.0%} band as calibrated, %", [number(x, 1) for x in fixed]))
            width = ds["width"].sel(level=level).values
            rows.append((with_units(f"width of the {level:.0%} band,", units), [number(x, 2) for x in width]))
    if "bin_count" in ds:
        caption = "When the event is forecast with 70 %, does it happen 7 times in 10?"
        parts.append(figure(charts.reliability_chart(ds), caption))
    if "rank_frequency" in ds:
        caption = "Flat if the truth behaves like another ensemble member"
        parts.append(figure(charts.rank_chart(ds), caption))
    for key, words in (("crps", "CRPS"), ("brier", "Brier score"), ("spread", "spread of the members")):
        if key in ds:
            rows.append((words, [number(x, 3) for x in ds[key].values]))
    return section(
        f"Do the stated uncertainties of {name} hold?",
        paragraph(ADAPTED + about_bands(ds, units)) if "fixed_coverage" in ds else "",
        f'<div class="pair">{"".join(parts)}</div>',
        table(["", *verification.labels], rows) if rows else "",
    )


def slices(verification: Verification, variable: int) -> str:
    """Regions and seasons."""
    ds = verification.diagnostics.get("slices")
    reference = best_reference(verification, variable)
    if ds is None or reference is None:
        return ""
    rows = []
    for name in ds["slice"].values:
        here = ds.isel(variable=variable).sel(slice=name)
        against = here.sel(reference=reference)
        cells = [
            f'<td class="{CLASSES[str(outcome)]}">{number(rmse, 2)}<small>{percent(skill)} %</small></td>'
            for rmse, skill, outcome in zip(
                here["rmse"].sel(contender=verification.sums.model).values,
                against["skill"].values,
                against["outcome"].values,
                strict=True,
            )
        ]
        rows.append((f"{name} ({int(here['n_windows'])} windows)", cells))
    return section(
        f"Seasons and regions of {verification.sums.variables[variable]}",
        paragraph(f"Error, and below it the skill against {reference}, of each part separately."),
        table(["", *verification.labels], rows),
    )


def best_reference(verification: Verification, variable: int) -> str | None:
    """The reference with the smallest error over all leads."""
    sums = verification.sums
    errors = {name: float(sums.pooled_rmse(name)[variable]) for name in sums.references}
    return min(errors, key=lambda name: errors[name]) if errors else None


def _top(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, 0.99)) or 1.0 if known.size else 1.0


def _with(text: str, units: str) -> str:
    return text if units in ("", "1") else f"{text} {units}"
