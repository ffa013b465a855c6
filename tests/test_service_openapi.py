"""The OpenAPI document of a real server: schemathesis with all its checks, and a client generated from it."""

import io
import subprocess
import sys

import httpx
import hypothesis
import pytest
import schemathesis
import xarray as xr
from hypothesis import strategies as st

from stconv.forecast import Forecaster

KEY = "a key of all scopes"
FEW, MANY = 3, 30
LIMIT_SECONDS = 120
TAKEN = ["2xx", "3xx", "401", "403", "404", "409", "422", "429", "503"]
"""Answers to data that the schema allows. It cannot say that the times of an upload follow each other by the
step of the model, that its grid is that of the model, or where that grid ends: 422 says so."""
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "431"]
"""Answers to data that the schema forbids; 431 to what is too long for a request line."""
LON, LAT = st.integers(-9, 7), st.integers(37, 49)
"""Degrees within the grid of the server; further out is no fault that a schema could state."""


def box(lon, lat, width, height):
    return [(lon, lat), (lon + width, lat), (lon + width, lat + height), (lon, lat + height), (lon, lat)]


def ring(corners):
    return f"({', '.join(f'{x} {y}' for x, y in corners)})"


BOXES = st.builds(box, LON, LAT, st.integers(3, 9), st.integers(3, 9))
POINTS = st.builds("{} {}".format, LON, LAT)
TIMES = st.sampled_from(["2020-01-11T00:00:00Z", "2020-01-11T06:00:00Z"])
FORMATS = {
    "wkt-point": st.builds("POINT({})".format, POINTS)
    | st.builds(lambda points: f"MULTIPOINT({', '.join(points)})", st.lists(POINTS, min_size=1, max_size=3)),
    "wkt-polygon": st.builds(lambda corners: f"POLYGON({ring(corners)})", BOXES),
    "bbox": st.builds(lambda corners: ",".join(map(str, (*corners[0], *corners[2]))), BOXES),
    "interval": TIMES | st.builds("../{}".format, TIMES) | st.builds("{}/..".format, TIMES),
    "names": st.just("t2m"),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)
schemathesis.openapi.media_type("application/x-netcdf", st.binary(max_size=2000))


@pytest.fixture(scope="module")
def server(service_server, service_bundle, service_data):
    from service.api_keys import hash_of

    server = service_server.Server(
        *("--model", str(service_bundle), "--data", str(service_data)),
        api_keys=f"{hash_of(KEY)}:read+forecast+admin",
        max_steps="30",
        max_job_steps="30",
        watch_seconds="1",
    )
    yield server
    server.kill()


@pytest.fixture(scope="module")
def document(server):
    found = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    checks = found.config.checks
    checks.positive_data_acceptance.expected_statuses = TAKEN
    checks.negative_data_rejection.expected_statuses = REFUSED
    return found


def explore(operation, mode, examples):
    """Send what schemathesis makes up, and apply every check; the statuses that came back."""
    statuses = set()

    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(headers={"X-API-Key": KEY}, timeout=LIMIT_SECONDS)
        statuses.add(answer.status_code)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"], case.as_curl_command()

    ask()
    return statuses


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_the_service_does_what_its_document_says(document, examples):
    seen = {}
    for result in document.get_all_operations():
        operation = result.ok()
        seen[operation.label] = explore(operation, schemathesis.GenerationMode.POSITIVE, examples)
        if operation.label.split()[1] not in ("/livez", "/readyz", "/metrics"):
            seen[operation.label] |= explore(operation, schemathesis.GenerationMode.NEGATIVE, examples)
    assert all(200 in seen[f"GET {path}"] for path in ("/livez", "/readyz", "/metrics", "/v1/models"))
    assert 200 in seen["GET /edr/conformance"]
    assert seen["POST /v1/forecasts"] & {400, 422}
    assert len(seen) == 32


@pytest.mark.slow
def test_all_phases_of_schemathesis(server, tmp_path):
    """Its own engine, which also tries other methods, missing headers, and keys that are wrong."""
    hooks = "\n".join(
        [
            "import importlib.util",
            f"spec = importlib.util.spec_from_file_location('hooks', {__file__!r})",
            "spec.loader.exec_module(importlib.util.module_from_spec(spec))",
        ]
    )
    (tmp_path / "hooks.py").write_text(hooks)
    (tmp_path / "schemathesis.toml").write_text(
        f"request-timeout = {LIMIT_SECONDS}\nhooks = 'hooks.py'\n"
        f"[checks]\nmax_response_time = {LIMIT_SECONDS}\n"
        f"[checks.positive_data_acceptance]\nexpected-statuses = {TAKEN}\n"
        f"[checks.negative_data_rejection]\nexpected-statuses = {REFUSED}\n"
    )
    options = ["--checks", "all", "--phases", "examples,coverage,fuzzing", "-n", "5", "--seed", "1"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *options]
    ended = subprocess.run(
        [*command, "-H", f"X-API-Key: {KEY}", "--no-color"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]


def test_a_generated_client_uploads_netcdf_and_gets_a_forecast(
    server, service_server, service_bundle, tmp_path, monkeypatch
):
    """Made from the document by openapi-python-client; the forecast is that of the library."""
    (tmp_path / "options.yml").write_text(
        "content_type_overrides:\n"
        "  application/x-netcdf: application/octet-stream\n"
        "  application/prs.coverage+json: application/json\n"
        "post_hooks: []\n"
    )
    where = ["--url", f"{server.url}/openapi.json", "--output-path", str(tmp_path / "generated")]
    options = ["--meta", "none", "--config", str(tmp_path / "options.yml"), "--fail-on-warning"]
    command = [sys.executable, "-m", "openapi_python_client", "generate", *where, *options]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    monkeypatch.syspath_prepend(tmp_path)
    from generated import AuthenticatedClient, types
    from generated.api.forecasts import create_forecast
    from generated.api.jobs import job_status, submit_job
    from generated.api.models import list_models

    client = AuthenticatedClient(server.url, token=KEY, timeout=httpx.Timeout(LIMIT_SECONDS))
    assert [model.name for model in list_models.sync(client=client).models] == ["air"]
    body = types.File(payload=io.BytesIO(service_server.as_netcdf(service_server.fields())))
    answer = create_forecast.sync(client=client, body=body, steps=3)
    found = xr.load_dataset(answer.payload.read())
    expected = Forecaster.from_path(service_bundle).forecast(service_server.fields(), steps=3)
    xr.testing.assert_allclose(found, expected)
    refused = create_forecast.sync_detailed(client=client, body=types.File(payload=io.BytesIO(b"GRIB")))
    assert (refused.status_code, refused.parsed.status) == (415, 415)
    assert "GRIB" in refused.parsed.detail
    body.payload.seek(0)
    job = submit_job.sync(client=client, body=body)
    assert job_status.sync(job.id, client=client).model == "air"
