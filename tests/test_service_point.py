"""The forecast of a point: grids that have none."""

import numpy as np
import pytest
import xarray as xr

from service.model.point import point_answer
from stconv.datasets.source.time_axis import time_step
from stconv.errors import GridError


def test_a_grid_without_latitude_and_longitude_has_no_points():
    lead = xr.Variable("lead", [1, 2], {"standard_name": "forecast_period"})
    forecast = xr.Dataset(
        {"t": (("lead", "y", "x"), np.zeros((2, 3, 4), "f4"))},
        {"lead": lead, "y": [0.0, 500, 1000], "x": [0.0, 500, 1000, 1500]},
    )
    step = time_step(np.datetime64("2020-01-01", "ns") + np.arange(3) * np.timedelta64(1, "h"))
    with pytest.raises(GridError, match=r"by latitude and longitude\. Use /v1/forecasts/latest for"):
        point_answer(forecast, step, 35, 5)
