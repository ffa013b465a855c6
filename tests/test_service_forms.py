"""What is kept of the form of an upload changes no forecast: other values and times, orders, conventions."""

import numpy as np
import pytest
import xarray as xr

from service.model.example import example_upload
from service.model.forms import Forms
from service.wire.codec import RawVariable, encode
from stconv.errors import DataError, MissingValuesError
from stconv.forecast import Forecaster


@pytest.fixture(scope="module")
def forecaster(service_bundle):
    return Forecaster.from_path(service_bundle)


def upload(ds):
    """As a parser sends it: stored values, times as numbers."""
    raw = xr.conventions.encode_dataset_coordinates(ds)
    coded = {name: xr.conventions.encode_cf_variable(v, name=name) for name, v in raw[0].items()}
    for name, variable in raw[0].items():
        if "_FillValue" not in variable.encoding:  # xarray adds one
            coded[name].attrs.pop("_FillValue", None)
    return encode({n: RawVariable(v.dims, v.values, dict(v.attrs)) for n, v in coded.items()}, raw[1])


def later(ds, hours):
    times = ds["time"].values + np.timedelta64(hours, "h")
    return ds.assign_coords(time=("time", times, {}, {"units": "hours since 1900-01-01"}))


def west(ds):
    return ds.assign_coords(longitude=(ds["longitude"] + 180) % 360 - 180).sortby("longitude")


def filled(array):
    array = array.copy()
    array.encoding = {"_FillValue": np.float32(np.nan)}
    return array


CHANGES = {
    "as it is": lambda ds: ds,
    "latitude rising": lambda ds: ds.isel(latitude=slice(None, None, -1)),
    "-180..180": west,
    "time last": lambda ds: ds.transpose("longitude", "latitude", "time"),
    "float64": lambda ds: ds.astype("float64"),
    "other names": lambda ds: ds.rename(time="when", latitude="north", longitude="east"),
    "older frames": lambda ds: ds.isel(time=slice(-7, None)),
    "another variable": lambda ds: ds.assign(rain=0 * ds["t2m"].isel(time=0, drop=True)),
    "fill value of NaN": lambda ds: ds.assign(t2m=filled(ds["t2m"])),
    "a history": lambda ds: ds.assign_attrs(history="made by hand"),
}


def same(found, expected):
    """All but the second at which it was made."""
    assert str(found.attrs["history"]).partition("\n")[2] == str(expected.attrs["history"]).partition("\n")[2]
    xr.testing.assert_identical(found.assign_attrs(history=""), expected.assign_attrs(history=""))


@pytest.mark.parametrize("steps", [None, 1, 5])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_second_upload_of_a_form_is_forecast_as_the_library_does(
    forecaster, service_server, change, steps, monkeypatch
):
    forms = Forms(forecaster)
    first, second, warm = (later(service_server.fields(9, seed), 30 * seed) for seed in (0, 1, 2))
    warm["t2m"].values += 40
    first, second, warm = map(change, (first, second, warm))
    same(forms.forecast(upload(first), steps), forecaster.forecast(first, steps))
    expected = [forecaster.forecast(ds, steps) for ds in (second, warm, first)]
    monkeypatch.setattr(forecaster, "check", None)  # the library is not asked again
    for ds, forecast in zip((second, warm, first), expected, strict=True):
        same(forms.forecast(upload(ds), steps), forecast)
    assert "input_outside_training_range" in expected[1].attrs


@pytest.mark.parametrize("bands", [True, False])
@pytest.mark.parametrize("steps", [None, 5])
def test_bands_are_given_or_left_out(forecaster, service_server, bands, steps):
    with_bands = Forecaster(service_server.with_bands(forecaster.bundle))
    forms = Forms(with_bands)
    for seed in (0, 1):
        ds = later(service_server.fields(4, seed), 6 * seed)
        found = forms.forecast(upload(ds), steps, bands)
        same(found, with_bands.forecast(ds, steps, bands))
        assert ("t2m_lower_95" in found) is bands


@pytest.mark.parametrize(
    "other",
    [
        lambda ds: ds.isel(time=[0, 1, 2, 3, 4, 5, 6, 8]),
        lambda ds: ds.assign(t2m=ds["t2m"].assign_attrs(long_name="warmth")),
        lambda ds: ds.assign_attrs(title="another"),
        lambda ds: ds.assign_coords(latitude=ds["latitude"].assign_attrs(note="north")),
        lambda ds: ds.transpose("time", "longitude", "latitude"),
        lambda ds: ds.assign(t2m=ds["t2m"].where(ds["t2m"] > 0, 9.96921e36).assign_attrs(ds["t2m"].attrs)),
        lambda ds: ds.assign_coords(time=ds["time"] + np.timedelta64(30, "m")),
    ],
    ids=["gap", "attribute", "title", "axis", "order", "never written", "half an hour"],
)
def test_another_form_is_read_by_the_library(forecaster, service_server, other):
    forms, ds = Forms(forecaster), later(service_server.fields(9), 0)
    forms.forecast(upload(ds), None)
    same(forms.forecast(upload(other(ds)), None), forecaster.forecast(other(ds)))


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda v: np.where(np.arange(v.size).reshape(v.shape) % 2, v, np.nan), MissingValuesError),
        (lambda v: np.where(v > 285, np.inf, v), DataError),
        (lambda v: np.full_like(v, np.nan), MissingValuesError),
    ],
    ids=["missing", "infinite", "nothing"],
)
def test_what_the_library_refuses_is_refused_in_its_words(forecaster, service_server, spoil, error):
    forms, ds = Forms(forecaster), later(service_server.fields(4), 0)
    forms.forecast(upload(ds), None)
    bad = ds.assign(t2m=(ds["t2m"].dims, spoil(ds["t2m"].values), ds["t2m"].attrs))
    with pytest.raises(error) as expected:
        forecaster.forecast(bad)
    with pytest.raises(error) as found:
        forms.forecast(upload(bad), None)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768},
        {"_FillValue": np.float32(-999)},
    ],
    ids=["packed", "fill value"],
)
def test_values_that_are_not_what_is_written_are_the_librarys(forecaster, service_server, encoding):
    forms = Forms(forecaster)
    for seed in (0, 1):
        ds = later(service_server.fields(4, seed), 6 * seed)
        ds["t2m"].encoding = encoding
        decoded = xr.decode_cf(
            xr.Dataset({n: xr.conventions.encode_cf_variable(v) for n, v in ds.variables.items()})
        )
        same(forms.forecast(upload(ds), None), forecaster.forecast(decoded))


def test_forms_are_forgotten(forecaster, service_server, monkeypatch):
    monkeypatch.setattr("service.model.forms.MOST_FORMS", 2)
    forms = Forms(forecaster)
    for number in range(4):
        forms.forecast(upload(later(service_server.fields(4), 0).assign_attrs(title=str(number))), None)
    assert len(forms._known) == 2


def test_the_example_of_a_schema_is_taken(forecaster):
    """What a model is warmed up with goes the way of an upload."""
    forecast = Forms(forecaster).forecast(example_upload(forecaster.input_schema()), None)
    assert forecast["t2m"].dims == ("lead", "latitude", "longitude")
    assert np.isfinite(forecast["t2m"].values[:, :-1]).all(), (
        "the corner that never had a value is in the last row"
    )
    assert forecast.attrs["input_outside_training_share"] == 0
