"""Interactive pictures by plotly, an extra: values under the pointer, zoom, a slider for the leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stconv.dims import LAT, TIME, Y
from stconv.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr
    from plotly.graph_objects import Figure

    from stconv.experiments.comparison import Entry
    from stconv.verification import Verification

ROW_HEIGHT = 340
"""Height of a row of panels, pixels."""
MAX_VARIABLES = 4
MAX_POINTS = 2000
"""Points of a curve over time; a longer series is thinned."""


def inspection_figure(ds: xr.Dataset) -> Figure:
    """Draw the last field and the mean over the grid, a row for each variable (at most four).

    Args:
        ds: Data in canonical form.
    """
    names = [str(name) for name in ds.data_vars][:MAX_VARIABLES]
    titles = [title for name in names for title in (f"{name}, last step", f"{name}, mean over the grid")]
    figure = _panels(len(names), titles)
    every = max(ds.sizes[TIME] // MAX_POINTS, 1)
    for row, name in enumerate(names, 1):
        field = ds[name]
        figure.add_trace(_map(field.isel({TIME: -1})), row=row, col=1)
        series = field.isel({TIME: slice(None, None, every)})
        times = [str(time)[:16] for time in series[TIME].values]
        mean = series.mean(series.dims[1:]).values
        figure.add_trace(_line(times, mean, name), row=row, col=2)
        figure.update_yaxes(title_text=_labelled(name, field.attrs.get("units", "")), row=row, col=2)
        figure.update_yaxes(title_text=LAT if LAT in ds.dims else Y, row=row, col=1)
    return figure.update_layout(showlegend=False)


def scores_figure(verification: Verification) -> Figure:
    """Draw RMSE and skill against lead beside the references, a row for each variable."""
    sums, labels = verification.sums, list(verification.labels)
    figure = _panels(len(sums.variables), ["RMSE", "skill, %"] * len(sums.variables))
    for row, name in enumerate(sums.variables):
        curves = {verification.model: sums.rmse(sums.model)[row]}
        curves |= {reference: sums.rmse(reference)[row] for reference in sums.references}
        skill = {f"against {name}": 100 * sums.skill(sums.model, name)[row] for name in sums.references}
        _curves(figure, row + 1, labels, curves, skill, _labelled(name, sums.units[name]))
    return figure.update_layout(title_text=verification.title)


def comparison_figure(entries: Sequence[Entry]) -> Figure:
    """Draw error and skill against lead of the best runs, for their first variable."""
    from stconv.experiments.comparison import MAX_PLOTTED, labels_of, reference_of

    shown = entries[:MAX_PLOTTED]
    first, reference = shown[0].result, reference_of(entries)
    name = first.sums.variables[0]
    figure = _panels(1, ["RMSE", f"skill against {reference}, %"])
    sums = {label: entry.result.sums for label, entry in zip(labels_of(shown), shown, strict=True)}
    _curves(
        figure,
        1,
        list(first.labels),
        {label: each.rmse(each.model)[0] for label, each in sums.items()},
        {label: 100 * each.skill(each.model, reference)[0] for label, each in sums.items()},
        _labelled(name, first.sums.units[name]),
    )
    return figure.update_layout(title_text=f"{name}, {first.data}")


def forecast_figure(field: xr.DataArray, labels: Sequence[str], title: str) -> Figure:
    """Draw a forecast as a map with a slider for the leads.

    Args:
        field: Forecast of one variable, (leads, rows, columns).
        labels: Time of each lead.
        title: Title of the picture.
    """
    objects = _plotly()
    low, high = float(field.min()), float(field.max())
    frames = [
        objects.Frame(data=[_map(field[lead]).update(zmin=low, zmax=high)], name=label)
        for lead, label in enumerate(labels)
    ]
    steps = [
        {"label": frame.name, "method": "animate", "args": [[frame.name], {"mode": "immediate"}]}
        for frame in frames
    ]
    return objects.Figure(
        data=frames[0].data,
        frames=frames,
        layout={"title": {"text": title}, "sliders": [{"steps": steps}], "height": 1.5 * ROW_HEIGHT},
    )


def _plotly() -> Any:
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise ConfigError(
            "Interactive pictures need plotly, which is not installed. Install it: pip install "
            "'stconv[interactive]', or leave `interactive` out."
        ) from error
    return graph_objects


def _panels(n_rows: int, titles: Sequence[str]) -> Figure:
    _plotly()
    from plotly.subplots import make_subplots

    figure: Figure = make_subplots(rows=n_rows, cols=2, subplot_titles=titles)
    return figure.update_layout(height=ROW_HEIGHT * n_rows + 80)


def _curves(
    figure: Figure,
    row: int,
    labels: list[str],
    errors: Mapping[str, np.ndarray],
    skill: Mapping[str, np.ndarray],
    title: str,
) -> None:
    for column, curves in enumerate((errors, skill), 1):
        for name, values in curves.items():
            figure.add_trace(_line(labels, values, name, mode="lines+markers"), row=row, col=column)
        figure.update_xaxes(title_text="lead", row=row, col=column)
    figure.update_yaxes(title_text=title, row=row, col=1)


def _line(x: Sequence[str], y: np.ndarray, name: str, mode: str = "lines") -> Any:
    return _plotly().Scatter(x=list(x), y=np.asarray(y, float), name=name, mode=mode)


def _map(field: xr.DataArray) -> Any:
    """A field as a map, north up whatever the order of its rows; missing cells are empty."""
    rows, columns = (field[dim].values if dim in field.coords else None for dim in field.dims)
    units = str(field.attrs.get("units", ""))
    return _plotly().Heatmap(
        x=columns,
        y=rows,
        z=np.asarray(field.values, float),
        colorscale="Viridis",
        colorbar={"title": {"text": units}},
    )


def _labelled(name: str, units: str) -> str:
    return f"{name} [{units}]" if units else name
