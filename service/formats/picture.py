"""Writer of PNG: a map for each lead, drawn by the library."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from service.formats.answers import nested
from service.formats.layout import field_names, find_layout
from stconv.datasets.source.directions import holds_directions
from stconv.datasets.source.longitude import canonical_longitude, is_cyclic
from stconv.forecast.output import reference_of, valid_time_of


def to_png(forecast: xr.Dataset) -> bytes:
    """Draw the first variable, for at most as many leads as fit next to each other."""
    from stconv.verification.report.field_plot import forecast_plot

    name = field_names(forecast)[0]
    array, layout = forecast[name], find_layout(forecast)
    fields = layout.fields(array)
    rows = np.argsort(layout.rows, kind="stable")
    columns, eastward = layout.columns, np.arange(layout.columns.size)
    if layout.geographic and not is_cyclic(columns):
        columns, eastward = canonical_longitude(columns, layout.x, "the forecast")
    leads = forecast[layout.lead]
    units = str(leads.attrs.get("units", ""))
    with tempfile.TemporaryDirectory(prefix="stconv-") as folder:
        path = forecast_plot(
            None,
            fields[:, rows][:, :, eastward],
            Path(folder) / "forecast.png",
            lead_labels=[f"{lead} {units}" for lead in leads.values],
            valid_times=nested(forecast[valid_time_of(forecast)]),
            lat=layout.rows[rows],
            lon=columns,
            geographic=layout.geographic,
            title=f"{array.attrs.get('long_name') or name}: "
            f"{forecast.attrs.get('model_name', 'forecast')} from "
            f"{nested(forecast[reference_of(forecast)])[:16].replace('T', ' ')} UTC",
            units=str(array.attrs.get("units", "")),
            circular=holds_directions(array),
        )
        return path.read_bytes()
