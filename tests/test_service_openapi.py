"""schemathesis over the OpenAPI document, against a real server: nothing it makes up is a server error."""

import hypothesis
import schemathesis
from hypothesis import strategies as st

EXAMPLES = 6
EXPECTED_5XX = {503, 504}
PROBLEM = "application/problem+json"

schemathesis.openapi.media_type("application/x-netcdf", st.binary(max_size=2000))


def explore(operation):
    """Ask what the strategy makes up; the statuses that came back."""
    statuses = set()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def ask(case):
        answer = case.call()
        statuses.add(answer.status_code)
        assert answer.status_code < 500 or answer.status_code in EXPECTED_5XX, case.as_curl_command()
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == [PROBLEM], case.as_curl_command()

    ask()
    return statuses


def test_no_server_error_and_every_refusal_is_a_problem(service):
    document = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    seen: dict[str, set[int]] = {}
    for operation in operations:
        seen[operation.label] = explore(operation)
    assert {label.split()[1] for label in seen} == {
        "/livez",
        "/readyz",
        "/metrics",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/admin/models/{name}",
        "/v1/forecasts",
        "/v1/forecasts/latest",
        "/v1/forecast",
        "/v1/forecasts/{reference}",
        "/v1/forecasts/{reference}/truth",
        "/v1/verification",
        "/v1/jobs",
        "/v1/jobs/{job}",
        "/v1/jobs/{job}/result",
        "/zarr",
        "/zarr/{model}",
        "/zarr/{model}/{group}/{key}",
        "/edr/",
        "/edr/conformance",
        "/edr/collections",
        "/edr/collections/{name}/instances",
        *(
            f"/edr/collections/{{name}}{instance}{query}"
            for instance in ("", "/instances/{instance}")
            for query in ("", "/position", "/area", "/cube")
        ),
    }
    assert 200 in seen["GET /livez"]
    assert seen["POST /v1/forecasts"] & {400, 422}
