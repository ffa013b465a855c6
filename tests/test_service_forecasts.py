"""Forecasts over HTTP from a real server equal those of the library."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import jsonschema
import numpy as np
import pytest
import xarray as xr


def post(client, body, content_type, accept=None, **parameters):
    headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
    return client.post("/v1/forecasts", content=body, headers=headers, params=parameters)


def opened(answer):
    assert answer.status_code == 200, answer.text
    return xr.load_dataset(answer.content)


def without_history(ds):
    return ds.assign_attrs(history="")


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"], ids=["netcdf4", "netcdf3"])
def test_netcdf_in_netcdf_out_equals_the_library(client, made, library, engine):
    ds = made.fields()
    answer = opened(post(client, made.as_netcdf(ds, engine), made.NETCDF))
    expected = library.forecast(ds)
    xr.testing.assert_allclose(answer, expected, rtol=1e-6)  # threads differ, and with them the rounding
    xr.testing.assert_identical(
        without_history(answer.assign(t2m=0 * answer["t2m"])),
        without_history(expected.assign(t2m=0 * expected["t2m"])),
    )
    assert answer["t2m"].dims == ("lead", "latitude", "longitude")
    assert answer["latitude"].values[0] == 50


def test_packed_input_equals_the_library(client, made, library, tmp_path):
    path = tmp_path / "packed.nc"
    encoding = {"t2m": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}}
    made.fields().to_netcdf(path, engine="h5netcdf", encoding=encoding)
    answer = opened(post(client, path.read_bytes(), made.NETCDF))
    with xr.open_dataset(path) as ds:
        np.testing.assert_allclose(answer["t2m"], library.forecast(ds)["t2m"], rtol=1e-6)


def test_json_in_json_out_equals_the_library(client, made, library):
    answer = post(client, json.dumps(made.as_json(made.fields())), made.JSON)
    assert answer.headers["content-type"] == made.JSON
    found = answer.json()
    expected = library.forecast(made.fields())
    values = np.array(found["variables"]["t2m"]["values"], float)
    np.testing.assert_allclose(values, expected["t2m"].values, rtol=1e-6)
    assert found["variables"]["t2m"]["dimensions"] == ["lead", "latitude", "longitude"]
    assert found["variables"]["t2m"]["values"][0][0][0] is None, "a cell that never had a value"
    assert found["coordinates"]["time"]["values"] == ["2020-01-11T00:00:00", "2020-01-11T06:00:00"]
    assert found["attributes"]["bundle_sha256"] == expected.attrs["bundle_sha256"]


def test_accept_picks_the_format(client, made):
    body = json.dumps(made.as_json(made.fields()))
    from_json = opened(post(client, body, made.JSON, accept="application/x-netcdf"))
    as_json = post(
        client, made.as_netcdf(made.fields()), made.NETCDF, accept="application/json;q=0.9, text/html"
    )
    np.testing.assert_allclose(
        np.array(as_json.json()["variables"]["t2m"]["values"], float).astype("f4"),
        from_json["t2m"].values,
        rtol=1e-6,
    )


def test_the_answer_names_the_model(client, made, service_bundle):
    answer = post(client, made.as_netcdf(made.fields()), made.NETCDF)
    hashed = client.get("/v1/models/air").json()["bundle_sha256"]
    assert answer.headers["stconv-model"] == "air"
    assert answer.headers["stconv-bundle-sha256"] == hashed == opened(answer).attrs["bundle_sha256"]


def test_steps_beyond_the_horizon_are_rolled_out(client, made, library):
    answer = opened(post(client, made.as_netcdf(made.fields()), made.NETCDF, steps=5))
    assert answer.sizes["lead"] == 5
    xr.testing.assert_allclose(answer, library.forecast(made.fields(), steps=5))


def test_order_and_longitude_convention_do_not_matter(client, made):
    ds = made.fields()
    turned = ds.isel(latitude=slice(None, None, -1))
    west = ds.assign_coords(
        longitude=("longitude", made.LON % 360 - 360 * (made.LON % 360 > 180), ds.longitude.attrs)
    )
    west = west.sortby("longitude")
    original = opened(post(client, made.as_netcdf(ds), made.NETCDF))["t2m"]
    flipped = opened(post(client, made.as_netcdf(turned), made.NETCDF))["t2m"]
    shifted = opened(post(client, made.as_netcdf(west), made.NETCDF))["t2m"]
    assert flipped["latitude"].values[0] == 36
    assert shifted["longitude"].values[0] == -10
    np.testing.assert_allclose(flipped.values[:, ::-1], original.values, rtol=1e-6)
    xr.testing.assert_allclose(
        shifted.assign_coords(longitude=shifted["longitude"] % 360).sel(longitude=original["longitude"]),
        original,
    )


@pytest.mark.filterwarnings("ignore::stconv.forecast.TrainingRangeWarning")  # of the random fields
def test_requests_at_once_get_their_own_answers(service, made, library):
    expected = [library.forecast(made.fields(seed=seed))["t2m"] for seed in range(8)]
    with service.client() as client, ThreadPoolExecutor(8) as pool:
        bodies = [made.as_netcdf(made.fields(seed=seed)) for seed in range(8)]
        answers = list(pool.map(lambda body: post(client, body, made.NETCDF), bodies))
    for answer, forecast in zip(answers, expected, strict=True):
        np.testing.assert_allclose(opened(answer)["t2m"], forecast, rtol=1e-6)


def test_a_body_in_chunks_is_taken(client, made):
    body = made.as_netcdf(made.fields())
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert post(client, pieces, made.NETCDF).status_code == 200


def test_point_is_the_cell_of_the_whole_forecast(client, made, library):
    whole = library.forecast(made.fields())["t2m"]
    for longitude in (4.9, 4.9 - 360 + 360):
        found = client.get("/v1/forecast", params={"latitude": 44.6, "longitude": longitude}).json()
        assert (found["latitude"], found["longitude"]) == (44.0, 4.0)
        assert found["hourly_units"] == {"time": "iso8601", "t2m": "K"}
        assert found["hourly"]["time"] == ["2020-01-11T00:00", "2020-01-11T06:00"]
        assert found["reference_time"] == "2020-01-10T18:00"
        cell = whole.sel(latitude=44, longitude=4).values
        np.testing.assert_allclose(np.float32(found["hourly"]["t2m"]), cell, rtol=1e-6)


def test_point_takes_both_longitude_conventions(client):
    west = client.get("/v1/forecast", params={"latitude": 40, "longitude": -8}).json()
    east = client.get("/v1/forecast", params={"latitude": 40, "longitude": 352}).json()
    assert west == east
    assert west["longitude"] == -8


def test_point_in_a_cell_without_values_is_null(client):
    found = client.get("/v1/forecast", params={"latitude": 50, "longitude": -10, "variables": "t2m"}).json()
    assert found["hourly"]["t2m"] == [None, None]


def test_point_follows_the_data(client, made, service_data):
    before = client.get("/v1/forecast", params={"latitude": 44, "longitude": 4}).json()
    old = service_data.read_bytes()
    try:
        service_data.write_bytes(made.as_netcdf(made.fields(made.N + 1)))
        after = client.get("/v1/forecast", params={"latitude": 44, "longitude": 4}).json()
    finally:
        service_data.write_bytes(old)
    assert before["reference_time"] == "2020-01-10T18:00"
    assert after["reference_time"] == "2020-01-11T00:00"


def test_models_say_what_they_need(client, library):
    listed = client.get("/v1/models").json()["models"]
    assert [(model["name"], model["ready"], model["step"]) for model in listed] == [("air", True, "6h")]
    described = client.get("/v1/models/air").json()
    assert described["input"] == json.loads(json.dumps(library.input_schema()))


def test_json_body_fits_the_published_schema(client, made):
    operation = client.get("/openapi.json").json()["paths"]["/v1/forecasts"]["post"]
    schema = operation["requestBody"]["content"][made.JSON]["schema"]
    jsonschema.validate(made.as_json(made.fields()), schema)


def test_health_and_docs(client):
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "models": ["air"]}
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/docs", "/v1/models", "/static/map.js", "/nothing"])
def test_head_is_get_without_a_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert head.content == b""
    assert head.status_code == whole.status_code
    for name in ("content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]
    assert client.get(path).content == whole.content, "the connection is as it was"


def test_metrics_have_bounded_labels(client):
    for number in range(3):
        client.get(f"/nothing/{number}")
        client.get(f"/v1/models/none{number}")
        client.request(f"BREW{number}", "/livez")
    text = client.get("/metrics").text
    assert 'stconv_requests_total{method="GET",route="/v1/models/{name}",status="404"} ' in text
    assert "none1" not in text
    assert "nothing" not in text
    assert "BREW" not in text
    assert 'stconv_model_ready{model="air"} 1.0' in text
    assert 'stconv_forecast_seconds_count{model="air"}' in text


def test_answers_carry_security_headers(client):
    headers = client.get("/livez").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_the_printed_commands_work(service):
    commands = [line.strip() for line in service.output.splitlines() if line.startswith("  curl")]
    assert len(commands) == 3
    url = commands[0].split()[-1]
    assert httpx.get(url).json()["name"] == "air"
