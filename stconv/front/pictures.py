"""Pictures of a forecast, as figures of matplotlib, or of plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stconv.datasets.source.directions import holds_directions
from stconv.errors import VariableError
from stconv.forecast import Forecaster, without_bands
from stconv.forecast.output import lead_of, reference_of, valid_time_of

if TYPE_CHECKING:
    import xarray as xr


def forecast_figures(forecast: xr.Dataset, forecaster: Forecaster) -> dict[str, Any]:
    """Draw each variable of a forecast at every lead.

    Args:
        forecast: Forecast of `forecaster`, in the form of its input.
        forecaster: Knows the time step and the kind of the grid.
    """
    fields = drawn_fields(forecast)
    return {name: forecast_figure(forecast, forecaster, field) for name, field in fields.items()}


def drawn_fields(forecast: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the variables of a forecast that are fields, (lead, rows, columns), without bands, by name.

    Raises:
        VariableError: There is none, as in the forecast of an event, or the Dataset is no forecast.
    """
    lead = lead_of(forecast)
    if lead not in forecast.dims:
        dims = ", ".join(map(str, forecast.dims))
        raise VariableError(
            f"The Dataset is no forecast: expected the dimension '{lead}', found {dims}. Draw what "
            "`model.forecast` returns."
        )
    found = {}
    for name, field in without_bands(forecast).data_vars.items():
        single = [dim for dim in field.dims if dim != lead and field.sizes[dim] == 1]
        space = [dim for dim in field.dims if dim != lead and dim not in single]
        if lead in field.dims and len(space) == 2:
            found[str(name)] = field.squeeze(single, drop=True).transpose(lead, *space)
    if not found:
        names = ", ".join(map(str, forecast.data_vars))
        raise VariableError(
            f"The forecast has no field to draw: {names} has no rows and columns. Draw it over the leads: "
            "forecast[NAME].plot()."
        )
    return found


def forecast_figure(
    forecast: xr.Dataset, forecaster: Forecaster, field: xr.DataArray, interactive: bool = False
) -> Any:
    """Draw one of the `drawn_fields` of a forecast at every lead, with matplotlib or plotly."""
    from stconv.verification import lead_labels

    labels = lead_labels(forecaster.step, len(field))
    start = str(forecast[reference_of(forecast)].values)[:16].replace("T", " ")
    title = f"{field.name}: forecast of {forecast.attrs['model_name']} from {start}"
    if interactive:
        from stconv.front import interactive as plotly

        return plotly.forecast_figure(field, labels, title)
    from stconv.verification.report import field_plot

    times = [str(time)[:16].replace("T", " ") for time in forecast[valid_time_of(forecast)].values]
    lat, lon = (field[dim].values if dim in field.coords else None for dim in field.dims[1:])
    return field_plot.forecast_figure(
        None,
        field.values,
        lead_labels=labels,
        valid_times=times,
        lat=lat,
        lon=lon,
        geographic="lat" in forecaster.contract.grid.dims,
        title=title,
        units=str(field.attrs.get("units", "")),
        circular=holds_directions(field),
    )
