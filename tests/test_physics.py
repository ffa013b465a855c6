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
        ("tp", "mm", "", True),
        ("pr", "mm/day", "", True),
        ("rainfall", "mm", "", True),
        ("precip", "mm", "", True),
        ("precipitation", "mm day-1", "", True),
        ("cloud_cover", "1", "", True),
        ("no2", "mol m-2", "", True),
        ("chl", "mg m-3", "", True),
        ("sic", "1", "sea_ice_area_fraction", True),
        ("sithick", "m", "sea_ice_thickness", True),
        ("snd", "m", "surface_snow_thickness", True),
        ("sd", "m of water equivalent", "lwe_thickness_of_surface_snow_amount Snow depth", True),
        ("rsds", "W m-2", "surface_downwelling_shortwave_flux_in_air", True),
        ("rlds", "W m-2", "surface_downwelling_longwave_flux_in_air", True),
        ("aod", "1", "atmosphere_optical_thickness_due_to_aerosol", True),
        ("vis", "m", "visibility_in_air", True),
        ("ro", "m", "runoff", True),
        ("count", "count", "", True),
        ("bikes", "trips", "", True),
        ("o3", "DU", "", True),
        ("t_in", "people", "", True),
        ("wind_speed", "m s-1", "", True),
        ("sfcWind", "m s-1", "wind_speed Near-Surface Wind Speed", True),
        ("rel_hum", "%", "relative_humidity", True),
        ("precipitation", "kg m-2", "", True),
        ("t2m", "degF", "", False),
        ("tmax", "Celsius", "", False),
        ("t_anom", "K", "air temperature anomaly", False),
        ("sst_anom", "K", "", False),
        ("pr_anom", "mm/day", "", False),
        ("dbz", "dBZ", "rain reflectivity", False),
        ("rain", "dBR", "", False),
        ("log_rain", "1", "log of rain", False),
        ("logchl", "log10(mg m-3)", "log10 of chlorophyll concentration", False),
        ("w", "Pa s-1", "lagrangian_tendency_of_air_pressure", False),
        ("w", "m s-1", "upward_air_velocity", False),
        ("wspd_vert", "m s-1", "vertical wind speed", False),
        ("u10", "m s-1", "10 metre U wind component speed", False),
        ("u", "m s-1", "zonal wind speed", False),
        ("slr", "mm", "sea level", False),
        ("msl", "mm", "mean sea level", False),
        ("dz", "mm", "", False),
        ("zos", "m", "sea_surface_height_above_geoid", False),
        ("x", "1", "", False),
        ("d", "%", "percent anomaly", False),
        ("tcc_change", "%", "cloud change", False),
        ("rel", "%", "relative deviation of precipitation", False),
        ("rns", "W m-2", "surface_net_downward_radiative_flux", False),
        ("ssr", "J m**-2", "Surface net short-wave (solar) radiation", False),
        ("cre", "W m-2", "toa cloud radiative effect", False),
        ("crf", "W m-2", "cloud forcing", False),
        ("hfls", "W m-2", "surface_upward_latent_heat_flux", False),
        ("e", "m of water equivalent", "Evaporation", False),
        ("evspsbl", "kg m-2 s-1", "water_evapotranspiration_flux", False),
        ("et", "mm", "", False),
        ("pe", "mm", "precipitation minus evaporation", False),
        ("spi", "1", "Standardized Precipitation Index", False),
        ("strain", "1", "strain", False),
        ("terrain", "m", "terrain height", False),
        ("lwe_thickness", "cm", "Liquid_Water_Equivalent_Thickness", False),
        ("tws", "mm", "terrestrial water storage anomaly", False),
        ("smb", "kg m-2", "", False),
        ("b", "T", "magnetic flux density", False),
        ("upw", "m s-1", "upwelling index", False),
        ("wt", "m", "water table depth", False),
        ("q_disch", "m3 s-1", "discharge", False),
        ("train_count_diff", "count", "difference of counts", False),
        ("net_inflow", "people", "net inflow", False),
        ("country", "1", "", False),
        ("ct", "K", "cloud top temperature", False),
        ("prate_bias", "mm/day", "", False),
        ("z", "m2 s-2", "geopotential", False),
        ("vpd", "hPa", "vapour pressure deficit", False),
        ("h", "m", "", False),
        ("v", "kg m-2", "", False),
        ("uas", "m s-1", "eastward_wind", False),
        ("t", "degree_Celsius", "snow temperature", False),
        ("co2flux", "mol m-2 s-1", "surface flux of co2", False),
        ("pc1", "1", "principal component of rain", False),
    ],
)
def test_what_cannot_be_negative(name, units, described, expected):
    assert never_negative(name, units, described) is expected


@pytest.mark.parametrize(
    ("name", "units", "described", "limits", "expected"),
    [
        ("a", "degree", "wind_from_direction", (0, 360), True),
        ("a", "degrees", "sea_surface_wave_to_direction", (-180, 180), True),
        ("mwd", "Degree true", "", (0, 360), True),
        ("mwd", "degrees", "", (0, 360), True),
        ("wdir10m", "deg", "", (3, 350), True),
        ("wind_direction", "\u00b0", "", (3, 350), True),
        ("lat", "degrees", "latitude", (-90, 90), False),
        ("sza", "degree", "solar_zenith_angle", (0, 90), False),
        ("wdir", "degC", "", (0, 30), False),
        ("wdir", "degree", "", (0, 1000), False),
        ("dd_change", "degree", "change of direction", (-180, 180), False),
        ("a", "degree", "wind_from_direction", (0, 6), True),
        ("wd", "degrees_true", "", (0, 6), True),
        ("x", "degree", "direction_of_sea_water_velocity", (0, 6), True),
        ("x", "degree", "sea_water_velocity_to_direction", (0, 6), True),
        ("wdir", "rad", "", (0, 6), True),
        ("wdir", "radians", "wind_from_direction", (0, 6), True),
        ("wdir", "degrees clockwise from true north", "", (0, 6), True),
        ("saa", "degree", "solar_azimuth_angle", (0, 6), True),
        ("x", "degT", "wind direction", (0, 6), True),
        ("wdir_10m", "deg", "", (0, 6), True),
        ("era5_wdir_850", "degrees", "", (0, 6), True),
        ("sza", "degree", "solar_zenith_angle", (0, 6), False),
        ("sp", "degree", "sea_surface_wave_directional_spread", (0, 6), False),
        ("dd_change", "degree", "change of direction", (0, 6), False),
        ("lat", "degrees_north", "latitude", (0, 6), False),
        ("fdir", "J m-2", "Total sky direct solar radiation", (0, 6), False),
        ("sd", "degree", "standard deviation of wind direction", (0, 6), False),
        ("ar", "1", "aspect ratio", (0, 6), False),
        ("t", "degC", "wind direction", (0, 6), False),
        ("err", "degree", "error of the wind direction", (0, 6), False),
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
    persistence, climatology = baseline_errors(variable, WindowSpec.consecutive(5, 2), (), turn=360.0)
    unit = np.exp(1j * np.deg2rad(values.astype("f8")))
    angles = np.rad2deg(np.angle(unit[1:] / unit[:-1]))[191:]
    assert persistence[0] == pytest.approx(np.sqrt((angles**2).mean()), rel=0.02)
    assert climatology[0] == pytest.approx(15, rel=0.1)
    radians = baseline_errors(np.deg2rad(variable), WindowSpec.consecutive(5, 2), (), turn=2 * np.pi)
    np.testing.assert_allclose(np.rad2deg(radians), [persistence, climatology], rtol=1e-4)
