"""An upload and a file of the same content give the same forecast, in the service and in the library."""

import json
from contextlib import nullcontext

import cftime
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from service.model.loaded import LoadedModel
from service.model.settings import ModelSettings
from service.uploads.json_upload import parse_json
from service.uploads.netcdf_upload import parse_netcdf
from service.uploads.plain_hdf5 import parse_plain_hdf5
from stconv.datasets.source.attributes import SourceWarning
from stconv.datasets.source.grid import open_series
from stconv.errors import StconvError, TimeAxisError, UnitsError
from stconv.forecast import Forecaster
from stconv.forecast.window import OlderWindowWarning

pytestmark = pytest.mark.filterwarnings("ignore::stconv.forecast.TrainingRangeWarning")
LIMIT = 10**7


@pytest.fixture(scope="module")
def model(service_bundle):
    return LoadedModel(ModelSettings(str(service_bundle)))


def ask(model, fields, steps=None, bands=True):
    """Through the door of the service: what a parser sends, in the turn of a request."""
    model.batches.announce(0)
    with model.batches.turn(0):
        return model.forecast(fields, steps, bands)


def through_the_command_line(model, path, steps=None):
    """As `stconv forecast` does."""
    alone = Forecaster(model.forecaster.bundle)
    ds, origin = open_series(path, alone.source, alone.names)
    return alone.forecast(ds, steps, origin=origin)


def same(found, expected):
    """All but the second at which it was made."""
    assert str(found.attrs["history"]).partition("\n")[2] == str(expected.attrs["history"]).partition("\n")[2]
    xr.testing.assert_identical(found.assign_attrs(history=""), expected.assign_attrs(history=""))


def both_doors(model, path):
    """The answers to a file, or the words of the refusals; every parser that takes the file is asked."""
    body = path.read_bytes()
    read = [parse_netcdf(body, LIMIT), parse_plain_hdf5(body, LIMIT)]
    return [answer_or_words(ask, model, fields) for fields in read if fields is not None], answer_or_words(
        through_the_command_line, model, path
    )


def answer_or_words(door, *arguments):
    try:
        return door(*arguments)
    except StconvError as error:
        return type(error), str(error).replace(str(arguments[1]), "the input")


def write(
    path, ds, *, times=None, time_type="f8", time_attrs=None, dtype="f4", stored=None, form="NETCDF4", **attrs
):
    """Write the fields of a Dataset with the NetCDF library, values and attributes just as given."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.createDimension("time", None)
        file.createDimension("latitude", 8)
        file.createDimension("longitude", 10)
        hours = 6.0 * np.arange(ds.sizes["time"]) if times is None else times
        dims = ("time",)
        if time_type == "S1":
            file.createDimension("letters", hours.shape[1])
            dims = ("time", "letters")
        time = file.createVariable("time", time_type, dims)
        time.setncatts({"units": "hours since 2020-01-01"} if time_attrs is None else time_attrs)
        time[:] = hours
        for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
            axis = file.createVariable(name, "f8", (name,))
            axis.units = units
            axis[:] = ds[name].values
        fill = attrs.pop("_FillValue", None)
        field = file.createVariable("t2m", dtype, ("time", "latitude", "longitude"), fill_value=fill)
        field.set_auto_maskandscale(False)
        field.setncatts({"units": "K"} | attrs)
        field[:] = ds["t2m"].values if stored is None else stored
    return path


def packed(ds, missing=-32768):
    values = np.rint((ds["t2m"].values - 280.0) / 0.01)
    return np.where(np.isnan(values), missing, values).astype("i2")


def letters(texts):
    return np.array([list(text) for text in texts], "S1")


STAMPS = [f"2020-01-0{1 + k // 4}_{k % 4 * 6:02d}:00:00" for k in range(5)]
DIGITS = np.array([20200101 + k // 4 + k % 4 / 4 for k in range(5)])
PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0}
ODD = {
    "as it is": lambda ds: {},
    "classic": lambda ds: {"form": "NETCDF3_CLASSIC"},
    "packed": lambda ds: {**PACKED, "stored": packed(ds), "_FillValue": -32768},
    "packed, missing_value": lambda ds: {
        **PACKED,
        "stored": packed(ds, -999),
        "missing_value": np.int16(-999),
        "form": "NETCDF3_CLASSIC",
    },
    "packed, never written": lambda ds: {**PACKED, "stored": packed(ds, -32767)},
    "packed, valid range": lambda ds: {
        **PACKED,
        "stored": packed(ds, 32000),
        "valid_range": np.array([-30000, 30000], "i2"),
    },
    "missing_value": lambda ds: {
        "stored": ds["t2m"].fillna(-999.0).values,
        "missing_value": np.float32(-999),
    },
    "missing_value of another type": lambda ds: {
        "stored": ds["t2m"].fillna(1e20).values,
        "missing_value": 1e20,
    },
    "never written": lambda ds: {"stored": ds["t2m"].fillna(netCDF4.default_fillvals["f4"]).values},
    "valid maximum": lambda ds: {"stored": ds["t2m"].fillna(1e10).values, "valid_max": np.float32(400)},
    "dates as letters": lambda ds: {"times": letters(STAMPS), "time_type": "S1", "time_attrs": {}},
    "dates as digits": lambda ds: {"times": DIGITS, "time_attrs": {"units": "day as %Y%m%d.%f"}},
    "seconds as whole numbers": lambda ds: {
        "times": 21600 * np.arange(5),
        "time_type": "i4",
        "time_attrs": {"units": "seconds since 2020-01-01T00:00:00Z"},
    },
    "days in float": lambda ds: {
        "times": 18262 + np.arange(5) / 4,
        "time_type": "f4",
        "time_attrs": {"units": "days since 1970-01-01"},
    },
    "units of time under another name": lambda ds: {"time_attrs": {"Unit": "hours since 2020-01-01"}},
    "a far reference": lambda ds: {
        "times": 17700096.0 + 6 * np.arange(5),
        "time_attrs": {"units": "hours since 1-1-1 00:00:0.0", "calendar": "proleptic_gregorian"},
    },
    "far times": lambda ds: {"time_attrs": {"units": "hours since 2312-10-10"}},
    "another calendar": lambda ds: {"time_attrs": {"units": "hours since 2020-01-01", "calendar": "360_day"}},
    "units that differ": lambda ds: {"stored": ds["t2m"].values - 273.15, "units": "degC"},
    "a gap": lambda ds: {"times": np.array([0.0, 6.0, 12.0, 18.0, 30.0])},
    "no units": lambda ds: {"units": ""},
    "twice the same time": lambda ds: {"times": np.array([0.0, 6.0, 12.0, 12.0, 18.0])},
    "a scale that is no number": lambda ds: {"scale_factor": "big"},
    "a missing time": lambda ds: {"times": np.array([0.0, 6.0, np.nan, 18.0, 24.0])},
}
REFUSED = {
    "another calendar": (TimeAxisError, "The calendar of the input is '360_day'"),
    "units that differ": (UnitsError, "'t2m' is in 'degC'; the model was trained on 'K'"),
    "no units": (UnitsError, "'t2m' has no units"),
    "twice the same time": (TimeAxisError, ""),
    "a scale that is no number": (StconvError, "scale_factor"),
    "a missing time": (TimeAxisError, "is missing at index 2"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_files_give_the_same_forecast_through_both_doors(model, service_server, tmp_path, odd):
    ds = service_server.fields(5)
    path = write(tmp_path / "odd.nc", ds, **ODD[odd](ds))
    with pytest.warns(OlderWindowWarning) if odd == "a gap" else nullcontext():
        found, expected = both_doors(model, path)
    assert found
    for answer in found:
        if odd in REFUSED:
            kind, words = REFUSED[odd]
            assert issubclass(answer[0], kind)
            assert words in answer[1]
            assert answer == expected
        else:
            same(answer, expected)
            assert np.isfinite(answer["t2m"].values[:, 1:]).all()


def test_months_since_a_date_are_read(service_server, tmp_path):
    months = np.datetime64("1980-01", "M") + np.arange(40)
    ds = service_server.fields().assign_coords(time=months.astype("datetime64[ns]"))
    model = LoadedModel(ModelSettings(str(service_server.save_bundle(tmp_path / "monthly", ds))))
    path = write(
        tmp_path / "months.nc",
        ds.isel(time=slice(-5, None)),
        times=np.arange(35, 40) + 0.5,
        time_attrs={"units": "months since 1980-01-01"},
    )
    found, expected = both_doors(model, path)
    for answer in found:
        same(answer, expected)
    assert str(found[0]["forecast_reference_time"].values)[:10] == "1983-04-16"


def test_a_calendar_of_360_days_is_read(service_server, tmp_path):
    days = xr.date_range("2000-02-20", periods=40, freq="D", calendar="360_day", use_cftime=True)
    ds = service_server.fields().assign_coords(time=days)
    model = LoadedModel(ModelSettings(str(service_server.save_bundle(tmp_path / "days", ds))))
    attrs = {"units": "days since 2000-02-20", "calendar": "360_day"}
    newest = ds.isel(time=slice(-5, None))
    path = write(tmp_path / "days.nc", newest, times=np.arange(35.0, 40.0), time_attrs=attrs)
    found, expected = both_doors(model, path)
    for answer in found:
        same(answer, expected)
    assert found[0]["forecast_reference_time"].values[()] == cftime.Datetime360Day(2000, 3, 29)


def test_one_upload_changes_nothing_for_the_next(model, service_server, tmp_path):
    """Of one form, 290 years apart: each is answered as by a server that was just started."""
    for year in (2022, 2022, 2312):
        units = {"units": f"hours since {year}-10-10"}
        path = write(tmp_path / f"{year}.nc", service_server.fields(5, seed=year), time_attrs=units)
        found, expected = both_doors(model, path)
        same(found[0], expected)
        assert str(found[0]["forecast_reference_time"].values)[:10] == f"{year}-10-11"


@pytest.mark.parametrize("steps", [None, 1, 5])
def test_json_gives_the_forecast_of_the_same_fields(model, service_server, steps):
    ds = service_server.fields(9)
    found = ask(model, parse_json(json.dumps(service_server.as_json(ds)).encode(), LIMIT), steps)
    expected = model.forecaster.bundle and Forecaster(model.forecaster.bundle).forecast(ds, steps)
    np.testing.assert_array_equal(found["t2m"].values, expected["t2m"].values)
    np.testing.assert_array_equal(found["time"].values, expected["time"].values)


@pytest.mark.parametrize("odd", ["packed, missing_value", "never written", "dates as letters", "far times"])
def test_odd_files_give_the_same_forecast_over_http(service, model, service_server, tmp_path, odd):
    """Through the limited process that reads uploads, and the messages between all three."""
    ds = service_server.fields(5)
    path = write(tmp_path / "odd.nc", ds, **ODD[odd](ds))
    headers = {"Content-Type": service_server.NETCDF, "Accept": service_server.JSON}
    with service.client() as client:
        answer = client.post("/v1/forecasts", content=path.read_bytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    expected = through_the_command_line(model, path)
    found = answer.json()
    values = np.array(found["variables"]["t2m"]["values"], dtype=float)
    np.testing.assert_allclose(values, expected["t2m"].values, rtol=1e-6)
    reference = found["coordinates"]["forecast_reference_time"]["values"]
    assert reference[:16] == str(expected["forecast_reference_time"].values)[:16].replace(" ", "T")


def test_chunks_that_were_never_written_are_missing_through_both_doors(model, service_server, tmp_path):
    path = write(tmp_path / "holes.nc", service_server.fields(5))
    with h5py.File(path, "r+") as file:
        values = file["t2m"][...]
        scales = [file[dim] for dim in ("time", "latitude", "longitude")]
        del file["t2m"]
        field = file.create_dataset("t2m", values.shape, "f4", chunks=(1, 8, 10))  # fill value 0
        field.attrs["units"] = "K"
        for axis, scale in enumerate(scales):
            field.dims[axis].attach_scale(scale)
        field[:3], field[4:] = values[:3], values[4:]
    with pytest.warns(SourceWarning, match="1 of 5 chunks of 't2m' are not stored"):
        found, expected = both_doors(model, path)
    assert found == [expected]  # the parser in Python leaves the file to the HDF5 library
    assert "lacks 78 of 234 values" in expected[1]


def west(ds):
    return ds.assign_coords(longitude=(ds["longitude"] + 180) % 360 - 180).sortby("longitude")


LAID_OUT = {
    "latitude rising": lambda ds: ds.isel(latitude=slice(None, None, -1)),
    "-180..180": west,
    "time last": lambda ds: ds.transpose("longitude", "latitude", "time"),
    "float64": lambda ds: ds.astype("float64"),
    "other names": lambda ds: ds.rename(time="when", latitude="north", longitude="east"),
    "another variable": lambda ds: ds.assign(rain=0 * ds["t2m"].isel(time=0, drop=True)),
    "a history": lambda ds: ds.assign_attrs(history="made by hand"),
}


@pytest.mark.parametrize("engine", ["netcdf4", "scipy"])
@pytest.mark.parametrize("change", LAID_OUT.values(), ids=LAID_OUT)
def test_files_of_any_layout_give_the_same_forecast_through_both_doors(
    model, service_server, tmp_path, change, engine
):
    path = tmp_path / "laid_out.nc"
    change(service_server.fields(9)).to_netcdf(path, engine=engine)
    found, expected = both_doors(model, path)
    for answer in found:
        same(answer, expected)
