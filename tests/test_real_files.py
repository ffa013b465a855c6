"""Every real file is described rightly, or refused with the reason and the remedy."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr

from stconv.datasets.inspection.inspect import describe
from stconv.datasets.source.grid import GridSpec, open_series, restore
from stconv.errors import FileError, GridError, TimeAxisError, VariableError

B, F = "benchmark/", "formats/"
LATLON, INDEX = "latitude and longitude", "rows and columns (projected, rotated or pixel grid)"
WEB = "wxbtool/2m_temperature_1980_5.625deg.nc"

# path, specification, expected: grid, sizes, step, calendar, first, variables, missing share of the first
UNDERSTOOD = [
    (B + "ncep_air_temperature.zarr", {}, LATLON, (2920, 25, 53), "6h", "standard", "2013-01-01T00:00",
    "air", 0),
    (B + "bikenyc.nc", {}, INDEX, (4392, 16, 8), "1h", "standard", "2014-04-01T00:00", "new_flow end_flow",
    0),
    (B + "bikenyc.h5", {}, INDEX, (4392, 16, 8), "1h", "standard", "2014-04-01T00:00", "new_flow end_flow",
    0),
    (B + "ersst_v5_2010_2020.nc", {}, LATLON, (128, 89, 180), "1month", "standard", "2010-01-01T00:00",
     "sst", 0.314),
    (B + "era5_t2m_uk_2019_03.grib", {}, LATLON, (744, 33, 49), "1h", "standard", "2019-03-01T00:00",
     "t2m", 0),
    (B + "bom_rain_2020_10_31/66_20201031_0[01]*", {"valid_range": {"precipitation": [0, None]}}, INDEX,
     (12, 512, 512), "10min", "standard", "2020-10-31T00:00", "precipitation", 8 / (12 * 512 * 512)),
    (F + "A1B_north_america.nc", {}, LATLON, (240, 37, 49), "1year", "360_day", "1860-06-01T00:00",
     "air_temperature", 0),
    (F + "ERA_Interim_2017?.nc", {}, LATLON, (3, 241, 480), "1month", "standard", "2017-02-01T12:00",
     "sp t2m tp u10 v10", 0),
    (F + "era5_new_cds_names.nc", {"select": {"pressure_level": 500}}, LATLON, (12, 21, 31), "6h", "standard",
     "2020-07-01T00:00", "t q u v", 0),
    (F + "fice.nc", {"time_units": "days since 0001-01-01", "calendar": "noleap"}, LATLON, (120, 49, 100),
    "1month",
     "noleap", "0001-01-01T00:00", "fice", 0),
    (F + "globcurrent", {}, LATLON, (20, 41, 81), "1d", "standard", "2002-01-01T00:00",
     "eastward_eulerian_current_velocity northward_eulerian_current_velocity", 0.232),
    (F + "nemo_1m_*.nc", {}, INDEX, (3, 330, 360), "1month", "360_day", "2015-01-16T00:00", "tos", 0.451),
    (F + "ostia_monthly.nc", {}, LATLON, (54, 18, 432), "1month", "standard", "2006-04-16T00:00",
     "surface_temperature", 0.264),
    (F + "t_in_Celsius_?.nc", {}, LATLON, (40, 96, 192), "6h", "standard", "2001-01-01T00:00", "tC", 0),
    (F + "tas_rotated_grid_EUR11.nc", {}, INDEX, (1, 412, 424), None, "standard", "2006-01-16T12:00", "tas",
    0),
    (F + "tasmax_day_CanESM2_noleap.nc", {}, LATLON, (365, 36, 36), "1d", "noleap", "2095-01-01T00:00",
    "tasmax",
     0.00154),
    (F + "tasmax_day_HadGEM2-CC_360_day.nc", {}, LATLON, (360, 36, 36), "1d", "360_day", "2095-01-01T00:00",
     "tasmax", 0.00154),
    (F + WEB, {}, LATLON, (53, 32, 64), "7d", "standard", "2000-01-01T00:00", "t2m", 0),
]  # fmt: skip

REFUSED = [
    (B + "BikeNYC.zip", {}, FileError, "is a zip archive; .*Unpack it"),
    (B + "../README.md", {}, FileError, "is not a data file"),
    (F + "era5_new_cds_names.nc", {}, VariableError,
     r"t, q, u, v: .*`select: \{pressure_level: VALUE\}`.*1000.0, 925.0, 850.0, 700.0, 500.0"),
    (F + "eraint_uvz.nc", {}, TimeAxisError, r"no time axis found; its dimensions are month \(2: 1 to 7\)"),
    (F + "eraint_uvz.nc", {"time": "month", "select": {"level": 500}}, TimeAxisError,
     "time 'month' cannot be decoded.*State `time_units`"),
    (F + "eraint_uvz.nc", {"select": {"level": 501}}, GridError, "no value 501; choices: 200, 500, 850"),
    (F + "fice.nc", {}, TimeAxisError, "cannot be decoded: its values are float32.*'days'.*`time_units`"),
    (F + "orog_mod1_rectilinear_grid_2D.nc", {}, TimeAxisError, "no time axis found.*a static field can"),
    (F + "wxbtool", {}, TimeAxisError, r"1980.*and '.*1981.*different values of t2m for one time, 2000"),
    (F + "ostia_monthly.nc tas_rotated_grid_EUR11.nc", {}, GridError, "expected one grid"),
]  # fmt: skip


def paths_of(shared_data, text):
    folder, _, names = text.partition("/")
    return [str(shared_data / folder / name) for name in names.split(" ")]


@pytest.mark.parametrize(
    ("path", "spec", "grid", "sizes", "step", "calendar", "first", "variables", "missing"),
    UNDERSTOOD,
    ids=[case[0] for case in UNDERSTOOD],
)
def test_described_rightly(shared_data, path, spec, grid, sizes, step, calendar, first, variables, missing):
    found, ds = describe(paths_of(shared_data, path), GridSpec(**spec))
    assert found.grid == grid
    assert (found.n_steps, *(axis.size for axis in found.axes)) == sizes
    assert (found.step, found.calendar, found.first) == (step, calendar, first)
    assert [variable.name for variable in found.variables] == variables.split()
    assert found.variables[0].missing_share == pytest.approx(missing, rel=0.01, abs=1e-6)
    assert found.memory_bytes == 4 * len(found.variables) * np.prod(sizes)
    assert not found.gaps
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["n_steps"] == sizes[0]
    values = ds[found.variables[0].name].values
    assert found.variables[0].mean == pytest.approx(float(np.nanmean(values.astype(float))), rel=1e-6)
    assert found.variables[0].standard_deviation == pytest.approx(
        float(np.nanstd(values.astype(float))), rel=1e-4
    )


@pytest.mark.parametrize(("path", "spec", "error", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused_with_the_reason(shared_data, path, spec, error, message):
    with pytest.raises(error, match=message):
        describe(paths_of(shared_data, path), GridSpec(**spec))


SINGLE = [case for case in UNDERSTOOD if not set("?*") & set(case[0]) and case[0][-2:] in ("nc", "rr", "ib")]


@pytest.mark.parametrize(("path", "spec"), [case[:2] for case in SINGLE], ids=[case[0] for case in SINGLE])
def test_what_came_in_goes_out(shared_data, path, spec):
    (file,) = paths_of(shared_data, path)
    canonical, origin = open_series(file, GridSpec(**spec))
    restored = restore(canonical, origin)
    options = {"engine": "cfgrib", "backend_kwargs": {"indexpath": ""}} if file.endswith("grib") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)
        source = xr.open_dataset(file, decode_timedelta=False, **options)
    names = list(canonical.data_vars)
    expected = source[names].sel(spec.get("select", {})).astype("float32", keep_attrs=True)
    restored = restored[names]
    if "time_units" in spec:  # times that did not decode go out decoded
        expected, restored = expected.drop_vars("time"), restored.drop_vars("time")
    for coordinate in (*expected.coords.values(), *restored.coords.values()):
        coordinate.attrs.pop("bounds", None)  # bounds along the time do not pass the door
    if file.endswith("grib"):
        for ds in (expected, restored):
            ds.attrs.pop("history")  # says the minute in which the file was opened
    xr.testing.assert_identical(restored, expected)


def test_the_sentinel_of_the_rain_radar_is_noticed(shared_data):
    found, _ = describe(paths_of(shared_data, B + "bom_rain_2020_10_31/66_20201031_0[0-3]*"))
    assert any("only one distinct negative value, -0.1" in sentence for sentence in found.advice)


def test_one_series_in_two_files_is_joined_once(shared_data):
    found, _ = describe(paths_of(shared_data, F + "t_in_Celsius_?.nc"))
    assert found.repeated_steps == 40
    assert any("40 steps appear in several files with equal values" in sentence for sentence in found.advice)
