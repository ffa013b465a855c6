"""Pictures of a forecast, as figures of matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stconv.datasets.source.directions import holds_directions
from stconv.forecast import Forecaster, without_bands
from stconv.forecast.output import lead_of, valid_time_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def forecast_figures(forecast: xr.Dataset, forecaster: Forecaster) -> dict[str, Figure]:
    """Draw each variable of a forecast at every lead.

    Args:
        forecast: Forecast of `forecaster`, in the form of its input.
        forecaster: Knows the time step and the kind of the grid.
    """
    from stconv.verification import lead_labels
    from stconv.verification.report.field_plot import forecast_figure

    lead = lead_of(forecast)
    geographic = "lat" in forecaster.contract.grid.dims
    valid_times = forecast[valid_time_of(forecast)].values
    times = [str(time)[:16].replace("T", " ") for time in valid_times]
    fields = without_bands(forecast)
    figures = {}
    for name in (str(name) for name in fields.data_vars if lead in fields[name].dims):
        single = [dim for dim in fields[name].dims if dim != lead and fields.sizes[dim] == 1]
        rows, columns = (dim for dim in fields[name].dims if dim != lead and dim not in single)
        field = fields[name].squeeze(single, drop=True).transpose(lead, rows, columns)
        lat, lon = (field[dim].values if dim in field.coords else None for dim in (rows, columns))
        figures[name] = forecast_figure(
            None,
            field.values,
            lead_labels=lead_labels(forecaster.step, field.sizes[lead]),
            valid_times=times,
            lat=lat,
            lon=lon,
            geographic=geographic,
            title=f"{name} by {forecast.attrs['model_name']}",
            units=str(field.attrs.get("units", "")),
            circular=holds_directions(field),
        )
    return figures
