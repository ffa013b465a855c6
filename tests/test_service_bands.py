"""A real server whose model has bands, and which forecasts in tiles, answers as the library does."""

import pytest
import xarray as xr

from stconv.bundle import Bundle
from stconv.client import Client
from stconv.errors import ServiceError
from stconv.forecast import Forecaster

BOUNDS = [f"t2m_{side}_{percent}" for percent in (80, 95) for side in ("lower", "upper")]


@pytest.fixture(scope="module")
def bundle(service_server, service_bundle):
    return service_server.with_bands(Bundle.load(service_bundle))


@pytest.fixture(scope="module")
def server(service_server, service_data, bundle, tmp_path_factory):
    folder = bundle.save(tmp_path_factory.mktemp("banded") / "air")
    state = tmp_path_factory.mktemp("state")
    server = service_server.Server(
        *("--model", str(folder), "--data", str(service_data), "--state", str(state), "--tile", "3")
    )
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server):
    with Client(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def expected(bundle, service_server):
    return Forecaster(bundle, tile=0).forecast(service_server.fields(), steps=5)


def bounds(forecast):
    return sorted(str(name) for name in forecast.data_vars if name != "t2m")


def test_a_served_forecast_in_tiles_is_that_of_the_whole_grid(client, service_server, expected):
    found = client.forecast(service_server.fields(), steps=5)
    assert bounds(found) == sorted(BOUNDS)
    xr.testing.assert_allclose(found, expected)


def test_bands_are_left_out_of_every_answer_on_request(client, service_server, expected):
    ds = service_server.fields()
    assert bounds(client.submit(ds, steps=5).result()) == sorted(BOUNDS)
    for found in (
        client.forecast(ds, steps=5, bands=False),
        client.submit(ds, steps=5, bands=False).result(),
    ):
        assert bounds(found) == []
        xr.testing.assert_allclose(found["t2m"], expected["t2m"])
    assert bounds(client.latest()) == sorted(BOUNDS)
    assert bounds(client.latest(bands=False)) == []
    assert set(client.point(44, -4)["hourly"]) == {"time", "t2m", *BOUNDS}
    assert set(client.point(44, -4, bands=False)["hourly"]) == {"time", "t2m"}


def test_a_job_without_bands_is_another_job_than_one_with_them(client, service_server):
    ds = service_server.fields()
    job = client.submit(ds, idempotency_key="one")
    assert client.submit(ds, idempotency_key="one").id == job.id
    with pytest.raises(ServiceError, match="This Idempotency-Key was used for a different request"):
        client.submit(ds, idempotency_key="one", bands=False)
