"""The version of an alias, asked of a tracking server over HTTP."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from service.workers.alias_version import alias_version
from stconv.errors import TrackingError


class Registry(BaseHTTPRequestHandler):
    """Answers as MLflow's REST API for one model, and notes what it was asked."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        known = asked == {"name": "air quality", "alias": "champion"}
        content = self.server.content or json.dumps(
            {"model_version": {"name": "air quality", "version": "7"}}
        )
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(content.encode() if known else b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')

    def log_message(self, *_):
        pass


@pytest.fixture
def registry(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Registry)
    server.asked, server.content = [], None
    server.netloc = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server.netloc}/")
    yield server
    server.shutdown()
    server.server_close()


def test_asked_as_mlflow_documents_it(registry):
    assert alias_version("models:/air quality@champion") == "7"
    assert alias_version("models:/air quality") == "7"
    path = "/api/2.0/mlflow/registered-models/alias?name=air%20quality&alias=champion"
    assert registry.asked == [(path, None)] * 2


def test_what_it_does_not_know_is_left_to_mlflow(registry, monkeypatch):
    assert alias_version("models:/air quality@candidate") is None
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert alias_version("models:/air quality") is None
    monkeypatch.delenv("MLFLOW_TRACKING_INSECURE_TLS")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert alias_version("models:/air quality") is None
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    ("environment", "user", "sent"),
    [
        ({"USERNAME": "me", "PASSWORD": "secret"}, "", "Basic bWU6c2VjcmV0"),
        ({}, "me:secret@", "Basic bWU6c2VjcmV0"),
        ({"TOKEN": "t0ken"}, "", "Bearer t0ken"),
    ],
    ids=["user", "address", "token"],
)
def test_credentials_are_those_of_mlflow(registry, monkeypatch, environment, user, sent):
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{user}{registry.netloc}")
    assert alias_version("models:/air quality@champion") == "7"
    assert registry.asked[0][1] == sent


@pytest.mark.parametrize("content", ["{", "[]", '{"model_version": {}}'])
def test_another_program_on_its_port_is_no_registry(registry, content):
    registry.content = content
    with pytest.raises(TrackingError, match="does not answer"):
        alias_version("models:/air quality")


def test_a_server_that_is_down_is_named_without_its_password(registry, monkeypatch):
    registry.shutdown()
    registry.server_close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{registry.netloc}")
    with pytest.raises(TrackingError, match=f"at {registry.netloc} does not answer"):
        alias_version("models:/air quality")
