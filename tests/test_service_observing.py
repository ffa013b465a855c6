"""Telemetry: ids, timings, lines of JSON and spans."""

import json
import logging
import re

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.telemetry.observing import JsonLines, export_spans, note, part
from waiting import until


@pytest.fixture
def app():
    """Routes without worker processes: the lifespan is not entered."""
    return create_app(Settings())


@pytest.fixture
def client(app):
    return TestClient(app, base_url="http://127.0.0.1")


def test_every_answer_has_an_id(client):
    given = client.get("/livez").headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", given)
    assert client.get("/nothing").headers["x-request-id"] != given
    assert client.get("/livez", headers={"X-Request-ID": "proxy-7.a"}).headers["x-request-id"] == "proxy-7.a"
    for forged in ('x"} {"level": "ERROR', "a" * 65, "a b", "\u00e9"):
        answer = client.get("/livez", headers={"X-Request-ID": forged.encode("latin-1")})
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    refused = client.get("/livez", headers={"Host": "evil.example"})
    assert refused.status_code == 421
    assert refused.headers["x-request-id"]


def test_parts_are_timed(app, client):
    @app.get("/slow")
    async def slow() -> None:
        with part("parse"):
            pass
        note("forecast", 0.25)
        note("forecast", 0.5)

    timing = client.get("/slow").headers["server-timing"]
    assert re.fullmatch(r"parse;dur=\d+\.\d, forecast;dur=750\.0, total;dur=\d+\.\d", timing)


def test_a_request_is_one_line_of_json(client, caplog):
    with caplog.at_level(logging.INFO, "stconv.access"):
        client.get("/v1/models/a%0Ab%22", headers={"X-Request-ID": "r1"})
    (record,) = [record for record in caplog.records if record.name == "stconv.access"]
    line = JsonLines().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["path"] == '/v1/models/a\nb"'
    assert (entry["route"], entry["status"], entry["method"]) == ("/v1/models/{name}", 404, "GET")
    assert entry["seconds"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])


def test_an_exception_stays_in_its_line():
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        import sys

        record = logging.LogRecord("x", logging.ERROR, "", 0, "%s failed", ("it",), sys.exc_info())
    line = JsonLines().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "it failed"
    assert "ValueError: broken" in entry["exception"]


def test_a_real_server_logs_json_and_times_the_parts(service, service_server):
    body = service_server.as_netcdf(service_server.fields())
    headers = {"Content-Type": service_server.NETCDF, "X-Request-ID": "seen-in-the-log"}
    with service.client() as client:
        answer = client.post("/v1/forecasts", content=body, headers=headers)
    names = re.findall(r"(\w+);dur=", answer.headers["server-timing"])
    assert names == ["parse", "queue", "turn", "forecast", "work", "total"]
    lines = until(  # a line is written after its answer has gone out
        lambda: [line for line in service.output.splitlines() if "seen-in-the-log" in line]
    )
    entry = json.loads(lines[0])
    assert entry["request_id"] == "seen-in-the-log"
    assert entry["parts"]["forecast"] > 0


def test_spans_of_a_request(app, client, monkeypatch):
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("service.telemetry.observing._tracer", provider.get_tracer("test"))

    @app.get("/compute/{name}")
    async def work(name: str) -> None:
        note("forecast", 0.5)

    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.get("/compute/x", headers={"traceparent": caller})
    forecast, request = exporter.get_finished_spans()
    assert (forecast.name, request.name) == ("forecast", "GET /compute/{name}")
    assert forecast.parent.span_id == request.context.span_id
    assert abs((forecast.end_time - forecast.start_time) / 1e9 - 0.5) < 1e-6
    assert format(request.parent.span_id, "016x") == "b7ad6b7169203331"
    assert request.attributes["http.response.status_code"] == 200


def test_without_the_extra_there_are_no_spans(client, monkeypatch):
    monkeypatch.setattr("service.telemetry.observing._tracer", None)
    assert client.get("/livez").status_code == 200
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert export_spans() is False
