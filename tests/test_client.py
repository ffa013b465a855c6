"""stconv.client against a real server, and against answers made by hand."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import numpy as np
import pytest
import xarray as xr

from stconv.client import Client
from stconv.errors import GridError, ServiceError, UnitsError, VariableError
from waiting import until


@pytest.fixture(scope="module")
def client(service):
    with Client(service.url) as client:
        yield client


def test_forecast_equals_the_library(client, library, service_server):
    ds = service_server.fields()
    xr.testing.assert_allclose(client.forecast(ds), library.forecast(ds))
    xr.testing.assert_allclose(client.forecast(ds, "air", steps=3), library.forecast(ds, steps=3))
    assert list(client.forecast(ds, variables=["t2m"])) == ["t2m"]


def test_newest_forecast_and_its_point(client, library, service_server):
    whole = library.forecast(service_server.fields())
    xr.testing.assert_allclose(client.latest(), whole)
    found = client.point(44.6, 4.9)
    assert (found["latitude"], found["longitude"]) == (44.0, 4.0)
    assert found["hourly"]["t2m"] == pytest.approx(whole["t2m"].sel(latitude=44, longitude=4).values)


def test_models(client, library):
    assert [model["name"] for model in client.models()] == ["air"]
    assert client.model("air")["input"]["bundle_sha256"] == library.bundle_hash


@pytest.fixture(scope="module")
def stored(client):
    """The past forecasts of the server, once they are verified."""
    until(lambda: client.verification()["cases"], pause=0.2)
    return client.stored()


def test_past_forecasts_and_their_truth(client, stored, library, service_server):
    ds = service_server.fields()
    newest, older = stored[-1], stored[-3]
    assert newest["reference_time"] == "2020-01-10T18:00:00Z"
    xr.testing.assert_allclose(client.stored_forecast(ds["time"].values[-1]), library.forecast(ds))
    truth = client.truth(older["reference_time"], variables=["t2m"])
    np.testing.assert_array_equal(truth["t2m"].values, ds["t2m"].values[-2:])
    assert client.verification()["variables"]["t2m"]["units"] == "K"
    with pytest.raises(ServiceError, match=r"404: No forecast from '1999.* is stored"):
        client.stored_forecast("1999-01-01")


def test_archive_is_read_when_it_is_used(client, stored, library, service_server):
    whole = client.archive("air")
    assert whole.sizes["forecast_reference_time"] == len(stored)
    last = whole.isel(forecast_reference_time=-1)["t2m"].values
    np.testing.assert_allclose(last, library.forecast(service_server.fields())["t2m"].values, rtol=1e-6)


def test_job_is_waited_for_and_fetched(client, library, service_server):
    ds, seen = service_server.fields(), []
    job = client.submit(ds, steps=7)
    assert job.wait(on_progress=seen.append)["status"] == "done"
    assert seen[-1] == 1
    xr.testing.assert_allclose(job.result(), library.forecast(ds, steps=7))
    again = client.job(job.id)
    again.cancel()
    with pytest.raises(ServiceError, match="410: The job expired"):
        again.result()
    refused = client.submit(ds.isel(latitude=slice(1, None)))
    with pytest.raises(GridError, match="lat"):
        refused.result()


def test_job_that_takes_too_long_goes_on():
    running = {"status": "running", "progress": 0.25, "leads_done": 1, "steps": 4}
    answers = [httpx.Response(200, json=running, headers={"Retry-After": "2"}) for _ in range(3)]
    client, pauses = scripted(*answers)
    with pytest.raises(ServiceError, match=r"1 of 4 leads are done\. It continues"):
        client.job("abc").wait(timeout_seconds=5)
    assert pauses == [2, 2]


def test_refusals_are_the_errors_of_the_library(client, service_server):
    ds = service_server.fields()
    with pytest.raises(GridError, match="lat"):
        client.forecast(ds.isel(latitude=slice(1, None)))
    with pytest.raises(UnitsError, match="degC"):
        client.forecast(ds.assign(t2m=ds["t2m"].assign_attrs(units="degC")))
    with pytest.raises(VariableError, match="'rain'"):
        client.latest(variables=["rain"])
    with pytest.raises(ServiceError, match="404: There is no model 'nobody/x'"):
        client.latest(model="nobody/x")


def scripted(*answers, **options):
    """A client whose server gives these answers in turn, and the pauses it made."""
    left, pauses = list(answers), []

    def handle(request):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = Client("http://service", transport=httpx.MockTransport(handle), sleep=pauses.append, **options)
    return client, pauses


def busy(status, retry_after):
    problem = {"status": status, "detail": "busy", "type": "urn:stconv:problem:unavailable"}
    return httpx.Response(status, json=problem, headers={"Retry-After": retry_after})


READY = httpx.Response(200, json={"models": []})


def test_waits_as_long_as_the_server_says():
    in_ten = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    client, pauses = scripted(busy(503, "7"), busy(429, in_ten), busy(503, "soon"), READY)
    assert client.models() == []
    assert pauses[0] == 7
    assert 8 < pauses[1] <= 10
    assert pauses[2] == 2, "without a time the pauses double: 0.5, 1, 2"


def test_gives_up_when_patience_ends():
    client, pauses = scripted(busy(503, "4"), busy(503, "4"), busy(503, "4"), patience_seconds=10)
    with pytest.raises(ServiceError, match="503: busy"):
        client.models()
    assert pauses == [4, 4]


def test_no_service_there():
    client, pauses = scripted(
        httpx.ConnectError("refused"), httpx.ConnectError("refused"), patience_seconds=1
    )
    with pytest.raises(ServiceError, match="http://service cannot be reached"):
        client.models()
    assert pauses == [0.5]


def test_an_answer_that_does_not_come():
    client, _ = scripted(httpx.ReadTimeout("timed out"))
    with pytest.raises(ServiceError, match="did not answer /v1/models: timed out"):
        client.models()


def test_what_is_no_problem_document():
    client, pauses = scripted(httpx.Response(500, text="<html>proxy</html>"))
    with pytest.raises(ServiceError, match="500: <html>proxy"):
        client.models()
    assert pauses == []


def test_a_request_whose_server_died_behind_a_proxy_is_sent_again():
    client, pauses = scripted(httpx.Response(502, text=""), READY)
    assert client.models() == []
    assert pauses == [0.5]


def test_key_is_sent():
    seen = []

    def handle(request):
        seen.append(request.headers["authorization"])
        return READY

    Client("http://service", key="open sesame", transport=httpx.MockTransport(handle)).models()
    assert seen == ["Bearer open sesame"]


def test_bands_can_be_left_out_of_every_forecast():
    asked = []

    def handle(request):
        asked.append((request.url.path, request.url.params.get("bands")))
        if request.url.path in ("/v1/forecast", "/v1/jobs"):
            return httpx.Response(200, json={"id": "1"})
        body = bytes(xr.Dataset({"t2m": ("x", np.zeros(2))}).to_netcdf(engine="scipy"))
        return httpx.Response(200, content=body)

    with Client("http://service", transport=httpx.MockTransport(handle)) as client:
        client.forecast(xr.Dataset({"t2m": ("x", np.zeros(2))}), bands=False)
        client.latest(bands=False)
        client.point(1, 2, bands=False)
        client.stored_forecast("2020-01-01T00:00:00Z", bands=False)
        client.submit(xr.Dataset({"t2m": ("x", np.zeros(2))}), bands=False)
        client.truth("2020-01-01T00:00:00Z")
    assert [bands for _, bands in asked] == ["false"] * 5 + [None]
