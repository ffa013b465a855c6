"""CoverageJSON and pictures of a real server, its newest forecast, and remarks on the input in an answer."""

import io
import json

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from covjson_pydantic.coverage import Coverage

COVERAGE = "application/prs.coverage+json"


@pytest.fixture(scope="module")
def expected(made, service_bundle):
    from stconv.forecast import Forecaster

    return Forecaster.from_path(service_bundle).forecast(made.fields())


def post(client, body, accept, **parameters):
    headers = {"Content-Type": "application/x-netcdf", "Accept": accept}
    return client.post("/v1/forecasts", content=body, headers=headers, params=parameters)


@pytest.fixture(scope="module")
def coverage(client, made):
    answer = post(client, made.as_netcdf(made.fields()), COVERAGE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == COVERAGE
    return answer.json()


def test_coverage_is_valid_and_holds_the_forecast(coverage, expected):
    Coverage.model_validate(coverage)
    found = coverage["ranges"]["t2m"]
    assert (found["axisNames"], found["shape"]) == (["t", "y", "x"], [2, 8, 10])
    np.testing.assert_allclose(
        np.array(found["values"], float).astype("f4"), expected["t2m"].values.ravel(), rtol=1e-6
    )
    assert found["values"][0] is None, "a cell that never had a value"


def test_coverage_says_where_when_and_what(coverage, made, expected):
    axes = coverage["domain"]["axes"]
    assert axes["y"]["values"] == pytest.approx(made.LAT)
    assert axes["x"]["values"] == pytest.approx(made.LON)
    assert axes["t"]["values"] == ["2020-01-11T00:00:00Z", "2020-01-11T06:00:00Z"]
    assert coverage["parameters"]["t2m"]["unit"]["symbol"]["value"] == "K"
    assert coverage["parameters"]["t2m"]["observedProperty"]["label"] == {"en": "temperature"}
    assert coverage["stconv:reference_time"] == "2020-01-10T18:00:00Z"
    assert coverage["stconv:bundle_sha256"] == expected.attrs["bundle_sha256"]
    assert {entry["system"]["type"] for entry in coverage["domain"]["referencing"]} == {
        "GeographicCRS",
        "TemporalRS",
    }


def test_coverage_of_another_calendar_is_refused(expected):
    from service.formats.coverage import to_coverage
    from stconv.errors import TimeAxisError

    odd = expected.assign_coords(
        time=("lead", xr.date_range("2001-02-29", periods=2, calendar="360_day", use_cftime=True).values)
    )
    with pytest.raises(TimeAxisError, match="'360_day'"):
        to_coverage(odd)


def test_picture_shows_every_lead(client, made):
    answer = post(client, made.as_netcdf(made.fields()), "image/png")
    assert answer.headers["content-type"] == "image/png"
    pixels = matplotlib.image.imread(io.BytesIO(answer.content))
    assert pixels.shape[1] > pixels.shape[0] > 150
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50
    longer = post(client, made.as_netcdf(made.fields()), "image/png", steps=4)
    assert matplotlib.image.imread(io.BytesIO(longer.content)).shape[1] > pixels.shape[1]


def test_picture_has_north_up(expected, monkeypatch):
    """Latitude falls in the file; what is drawn has it rising, values along with it."""
    from service.formats.picture import to_png
    from stconv.verification.report import field_plot

    drawn = {}

    def note(truth, forecast, path, **options):
        drawn.update(options, forecast=forecast)
        path.write_bytes(b"drawn")
        return path

    monkeypatch.setattr(field_plot, "forecast_plot", note)
    assert to_png(expected) == b"drawn"
    assert list(drawn["lat"]) == sorted(expected["latitude"].values)
    assert list(drawn["lon"]) == [-10, -8, -6, -4, -2, 0, 2, 4, 6, 8], "in one piece across Greenwich"
    np.testing.assert_allclose(drawn["forecast"], expected["t2m"].values[:, ::-1], rtol=1e-6)
    assert drawn["lead_labels"] == ["6 hours", "12 hours"]
    assert drawn["units"] == "K"


def test_newest_forecast_is_in_the_conventions_of_the_data(client, expected):
    answer = client.get("/v1/forecasts/latest", headers={"Accept": "application/x-netcdf"})
    found = xr.load_dataset(answer.content)
    xr.testing.assert_allclose(found, expected)
    assert found["t2m"].dims == ("lead", "latitude", "longitude")
    assert answer.headers["stconv-model"] == "air"
    assert client.get("/v1/forecasts/latest", params={"steps": 3}).json()["variables"]["t2m"]["dimensions"]


def test_variables_can_be_chosen(client, made):
    answer = post(client, made.as_netcdf(made.fields()), "application/json", variables="t2m")
    assert list(answer.json()["variables"]) == ["t2m"]


def test_older_window_is_said(client, made):
    """The last frame but one is missing: the forecast starts before the gap, and every form says so."""
    ds = made.fields()
    gap = made.as_netcdf(ds.isel(time=[*range(made.N - 2), made.N - 1]))
    said = post(client, gap, "application/json").json()["attributes"]["older_window"]
    assert "2020-01-10T18:00" in said
    coverage = post(client, gap, COVERAGE).json()
    assert coverage["stconv:older_window"] == said
    assert coverage["stconv:reference_time"] == "2020-01-10T06:00:00Z"
    assert "older_window" not in post(client, made.as_netcdf(ds), "application/json").json()["attributes"]


def test_range_remark_is_in_every_form(client, made):
    warm = made.fields()
    warm["t2m"] = (warm["t2m"] + 30).assign_attrs(warm["t2m"].attrs)
    body = made.as_netcdf(warm)
    said = post(client, body, "application/json").json()["attributes"]["input_outside_training_range"]
    assert "t2m" in said
    assert post(client, body, COVERAGE).json()["stconv:input_outside_training_range"] == said


def test_every_form_says_how_usual_its_input_was(client, made):
    """By hand: of 3 frames x 78 cells that ever had a value 2 lie far above all that was seen in training."""
    hot = made.fields()
    hot["t2m"][-1, 3, 3:5] = 400
    body = made.as_netcdf(hot)
    share = round(2 / (3 * 78), 6)
    attributes = post(client, body, "application/json").json()["attributes"]
    assert (attributes["input_missing_share"], attributes["input_outside_training_share"]) == (0, share)
    picture = post(client, body, "image/png").headers
    assert picture["stconv-input-outside-training-share"] == str(share)
    assert picture["stconv-reference-time"] == "2020-01-10T18:00:00"
    assert picture["stconv-bundle-sha256"] == attributes["bundle_sha256"]
    assert post(client, body, COVERAGE).json()["stconv:input_outside_training_share"] == share
    point = client.get("/v1/forecast", params={"latitude": 44, "longitude": 4})
    assert point.json()["input_outside_training_share"] == 0
    assert point.headers["stconv-input-missing-share"] == "0.0"


def test_targets_that_are_no_inputs_are_served(tmp_path):
    """Warm-up has a channel for each variable of the series, not only for those that an input must have."""
    from types import SimpleNamespace

    import torch

    from service.model.loaded import LoadedModel

    asked = {}
    model = LoadedModel.__new__(LoadedModel)
    model.forecaster = SimpleNamespace(
        offsets=(-1, 0),
        leads=3,
        contract=SimpleNamespace(
            variables=["rain", "wind"], grid=SimpleNamespace(dims=["lat"], axes={"lat": [0.0, 1.0, 2.0, 3.0]})
        ),
        predict=asked.update,
        step=SimpleNamespace(kind="month"),
    )
    model._warm_up()
    assert asked["inputs"].shape == torch.Size([1, 2, 2, 4])
    assert json.dumps(list(asked["target_cycles"].shape)) == "[1, 3, 3]"


def test_pixel_grid_without_coordinates():
    """Rows and columns are numbered; nothing claims to be a longitude."""
    from service.formats.coverage import to_coverage
    from service.formats.picture import to_png

    times = np.array(["2020-01-01T01", "2020-01-01T02"], "datetime64[ns]")
    forecast = xr.Dataset(
        {"flow": (("lead", "y", "x"), np.arange(12.0, dtype="f4").reshape(2, 2, 3), {"units": "1"})},
        {
            "lead": ("lead", [1, 2], {"units": "hours"}),
            "time": ("lead", times),
            "forecast_reference_time": np.datetime64("2020-01-01T00", "ns"),
        },
    )
    coverage = json.loads(to_coverage(forecast))
    axes = coverage["domain"]["axes"]
    assert (axes["y"]["values"], axes["x"]["values"]) == ([0, 1], [0, 1, 2])
    assert coverage["domain"]["referencing"][0]["system"]["type"] == "ProjectedCRS"
    assert coverage["ranges"]["flow"]["values"] == list(range(12))
    assert to_png(forecast).startswith(b"\x89PNG")
