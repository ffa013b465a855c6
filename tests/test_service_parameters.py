"""Unknown query parameters are refused on every route, by name; no server is needed."""

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

APP = create_app(Settings())
PATHS = sorted(
    (method.upper(), path)
    for path, item in APP.openapi()["paths"].items()
    for method in item
    if not path.startswith("/v1/admin")
)


@pytest.fixture(scope="module")
def client():
    return TestClient(APP, base_url="http://localhost")


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_an_unknown_parameter_is_refused_on_every_route(client, method, path):
    answer = client.request(method, path.replace("{", "").replace("}", ""), params={"stpes": "3"})
    assert answer.status_code == (400 if path.startswith("/edr") else 422)
    assert answer.json()["errors"][0]["where"] == "query.stpes"
    assert "Unknown parameter; known: " in answer.json()["detail"]


def test_the_known_ones_are_named(client):
    answer = client.get("/v1/forecast", params={"lat": 1, "longitude": 2})
    known = "bands, latitude, longitude, model, steps, variables"
    assert answer.json()["detail"] == f"query.lat: Unknown parameter; known: {known}"


def test_a_parameter_given_twice_is_refused(client):
    answer = client.get("/v1/forecasts/latest?steps=1&steps=2")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "query.steps: Given 2 times; expected once"


def test_many_unknown_ones_are_not_all_named(client):
    answer = client.get("/livez", params={f"a{number}" * 50: "1" for number in range(100)})
    assert answer.status_code == 422
    assert len(answer.content) < 5000


def test_pages_may_have_parameters_for_their_scripts(client):
    assert client.get("/?model=air").status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/forecasts", "GET, HEAD, POST"), ("/v1/jobs/x", "DELETE, GET, HEAD"), ("/zarr/a/b/c", "GET, HEAD")],
)
def test_all_methods_of_a_path_are_allowed(client, path, allowed):
    answer = client.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["detail"] == f"PUT is not allowed at {path}; allowed: {allowed}."
