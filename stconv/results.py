"""The results of a test as files: scores as NetCDF and JSON, pictures, and the report page."""

from __future__ import annotations

import calendar
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from stconv.datasets.series.dataset import WindowDataset
from stconv.datasets.source.time_axis import iso
from stconv.datasets.summary import DataSummary
from stconv.verification import Verification
from stconv.verification.scores.case import Case, median_window
from stconv.verification.scores.circular import circles, with_angles
from stconv.verification.scores.labels import enumerate_words

if TYPE_CHECKING:
    from stconv.datasets.datamodule import GridDataModule
    from stconv.task import ForecastTask

SCORES_NC, SCORES_JSON, REPORT = "scores.nc", "scores.json", "report.html"


def write_results(
    result: Verification,
    task: ForecastTask,
    data: GridDataModule,
    folder: Path,
    model: Mapping[str, str] | None = None,
) -> Path:
    """Write all results of a test to a folder.

    Args:
        result: Scores of the test.
        task: Tested task.
        data: Data of the test.
        folder: Folder to write to; created if it does not exist.
        model: Further facts on the model, by heading.

    Returns:
        Path of the report page.
    """
    from stconv.verification.report.event_plot import event_plot

    folder.mkdir(parents=True, exist_ok=True)
    case = None
    if data.event is None:
        case = median_case(result, task, data)
        draw_case(result, case, folder)
    else:
        event_plot(result, folder / "event.png")
    return write_scores(result, folder, {**describe_data(data.describe()), **(model or {})}, case)


def write_scores(
    result: Verification, folder: Path, about: Mapping[str, str], case: Case | None = None
) -> Path:
    """Write scores to a folder: as NetCDF, as JSON, as a picture, and as the report page.

    Args:
        result: The scores.
        folder: Folder to write to; created if it does not exist.
        about: Facts on data and model, by heading.
        case: A single forecast to show, if there is one.

    Returns:
        Path of the report page.
    """
    from stconv.verification.report import write_report
    from stconv.verification.report.plots import skill_plot

    folder.mkdir(parents=True, exist_ok=True)
    result.to_netcdf(folder / SCORES_NC)
    (folder / SCORES_JSON).write_text(json.dumps(result.to_json(), indent=2))
    skill_plot(result, folder / "skill.png")
    return write_report(result, folder / REPORT, case=case, about=dict(about))


def median_case(result: Verification, task: ForecastTask, data: GridDataModule) -> Case:
    """Forecast the test window with the median error; values far from zero are whole, in float64."""
    series, i = data.series, median_window(result.sums)
    window = WindowDataset(series, data.spec, [i])[0]
    batch = {name: value[None].to(task.device) for name, value in window.items()}
    with torch.inference_mode():
        forecast = task.forecast(batch)
    directions = circles(data.directions, list(data.outputs))
    centers = np.array([series.centers.get(name, 0.0) for name in result.sums.variables])[:, None, None, None]

    def whole(field: torch.Tensor) -> np.ndarray:
        found = with_angles(field, directions)[0].cpu().numpy()
        return found + centers if centers.any() else found

    return Case(
        whole(batch["targets"]),
        whole(forecast),
        _readable(iso(series.times[i])),
        tuple(_readable(iso(series.times[i + lead])) for lead in range(1, data.leads + 1)),
        np.asarray(series.lat),
        np.asarray(series.lon),
        series.geographic,
    )


def draw_case(result: Verification, case: Case, folder: Path) -> list[Path]:
    """Draw truth, forecast and error per lead, in one picture for each variable."""
    from stconv.verification.report.field_plot import forecast_plot

    return [
        forecast_plot(
            case.truth[channel],
            case.forecast[channel],
            folder / f"forecast_{variable}.png",
            lead_labels=result.labels,
            valid_times=case.valid_times,
            lat=case.lat,
            lon=case.lon,
            geographic=case.geographic,
            title=f"{variable} from {case.reference_time}",
            units=result.sums.units[variable],
            circular=variable in result.sums.circular,
        )
        for channel, variable in enumerate(result.sums.variables)
    ]


def describe_data(data: DataSummary) -> dict[str, str]:
    """Return facts on the data, by heading."""
    axes = [f"{dim} {axis.first:g} to {axis.last:g}" for dim, axis in data.grid.items()]
    size = " x ".join(str(axis.size) for axis in data.grid.values())
    periods = {
        name: f"{_readable(period.start)} to {_readable(period.end)}, {period.n_windows} windows"
        for name, period in data.periods.items()
    }
    about = {
        "Data": f"{data.name}, a step of {data.step}, {data.n_steps} steps",
        "Grid": f"{size} cells, {', '.join(axes)}",
        "Forecast": f"{enumerate_words(data.targets)}, from {enumerate_words(data.inputs)}; "
        f"{len(data.input_offsets)} steps in, {data.leads} out",
        "Training period": periods["train"],
    }
    if "test" in periods:  # not in a refit
        about["Validation period"] = periods["val"]
        about["Test period"] = f"{periods['test']}; {data.purge} steps are left out between the periods"
    if data.unknown_months:
        unknown = enumerate_words([calendar.month_name[month] for month in data.unknown_months])
        about["Season"] = (
            f"no step of training or validation lies in {unknown}, unlike the test: the size of errors "
            "then was unknown, and stated uncertainties may be far from the truth"
        )
    missing = {name: share for name, share in data.missing_share.items() if share > 0}
    if missing:
        about["Missing values"] = ", ".join(f"{name} {share:.1%}" for name, share in missing.items())
    origin = data.source or recipe_source(data.recipe)
    if origin is not None:
        about |= {"Source": origin["citation"], "Terms of use": origin["license"]}
    return about


def _readable(time: str) -> str:
    """Return an ISO time with a space instead of T."""
    return time.replace("T", " ").removesuffix(":00")


def recipe_source(recipe_name: str | None) -> dict[str, str] | None:
    """Return title, citation and license of a recipe; None without a recipe, or if its file is gone."""
    from stconv.datasets.recipes.recipe import load_recipe
    from stconv.errors import RecipeError

    if recipe_name is None:
        return None
    try:
        recipe = load_recipe(recipe_name)
    except RecipeError:  # the user's file no longer exists
        return None
    return {"title": recipe.title, "citation": recipe.citation, "license": recipe.license}
