"""Bounds and circles come from names and units, not from the sample."""

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.inspection.baselines import baseline_errors
from stconv.datasets.series.windows import WindowSpec
from stconv.datasets.source.physics import is_direction, never_negative
from stconv.sphere import wrapped


@pytest.mark.parametrize(
    ("name", "units", "described", "expected"),
    [
        ("t2m", "degC", "", False),
        ("t2m", "degC", "air_temperature", False),
        ("t2m", "K", "air_temperature", False),
        ("tp", "mm", "total precipitation", True),
        ("tp", "m", "Total precipitation", True),
        ("pr", "kg m-2 s-1", "precipitation_flux", True),
        ("rain", "mm h-1", "", True),
        ("pm25", "ug m-3", "", True),
        ("tcc", "%", "", True),
        ("sla", "mm", "sea_surface_height_above_sea_level", False),
        ("sla", "mm", "sea level anomaly", False),
        ("q", "kg kg**-1", "specific_humidity", True),
        ("ws", "m s-1", "wind_speed", True),
        ("u", "m s-1", "eastward_wind", False),
        ("u", "m s-1", "", False),
        ("pranom", "mm/day", "precipitation anomaly", False),
        ("ndvi", "1", "", False),
        ("z", "m", "", False),
        ("swh", "m", "sea_surface_wave_significant_height", True),
        ("rns", "W m-2", "surface_net_downward_shortwave_flux", False),
    ],
)
def test_what_cannot_be_negative(name, units, described, expected):
    assert never_negative(name, units, described) is expected


@pytest.mark.parametrize(
    ("name", "units", "described", "limits", "expected"),
    [
        ("a", "degree", "wind_from_direction", (0, 360), True),
        ("a", "degrees", "sea_surface_wave_to_direction", (-180, 180), True),
        ("mwd", "Degree true", "", (0, 360), False),
        ("mwd", "degrees", "", (0, 360), True),
        ("wdir10m", "deg", "", (3, 350), True),
        ("wind_direction", "\u00b0", "", (3, 350), True),
        ("lat", "degrees", "latitude", (-90, 90), False),
        ("sza", "degree", "solar_zenith_angle", (0, 90), False),
        ("wdir", "degC", "", (0, 30), False),
        ("wdir", "degree", "", (0, 1000), False),
        ("dd_change", "degree", "change of direction", (-180, 180), False),
    ],
)
def test_what_is_a_direction(name, units, described, limits, expected):
    assert is_direction(name, units, described, *limits) is expected


def test_the_smallest_angle_by_hand():
    np.testing.assert_array_equal(wrapped(np.array([358.0, -358, 10, 180, 540])), [-2, 2, 10, -180, -180])


def test_errors_of_a_direction_are_on_the_circle():
    rng = np.random.default_rng(0)
    values = ((350 + rng.normal(0, 15, (240, 4, 5))) % 360).astype("f4")
    times = np.datetime64("2001-01-01", "ns") + np.arange(240) * np.timedelta64(6, "h")
    variable = xr.DataArray(values, {"time": times}, ("time", "y", "x"), "wdir")
    variable = variable.assign_coords(y=np.arange(4), x=np.arange(5))
    persistence, climatology = baseline_errors(variable, WindowSpec.consecutive(5, 2), (), direction=True)
    unit = np.exp(1j * np.deg2rad(values.astype("f8")))
    angles = np.rad2deg(np.angle(unit[1:] / unit[:-1]))[191:]
    assert persistence[0] == pytest.approx(np.sqrt((angles**2).mean()), rel=0.02)
    assert climatology[0] == pytest.approx(15, rel=0.1)
