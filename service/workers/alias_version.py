"""The version that an alias names, asked over HTTP: MLflow's own client would take seconds and 200 MB."""

from __future__ import annotations

import base64
import json
import os
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from stconv.errors import TrackingError

ANSWER_SECONDS = 10
MOST_BYTES = 1 << 20
CHAMPION = "champion"
ONLY_MLFLOW_KNOWS = (
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
)
"""Settings of MLflow's client that are not obeyed here."""


def alias_version(reference: str) -> str | None:
    """Ask the tracking server of MLFLOW_TRACKING_URI which version an alias names.

    Args:
        reference: `models:/NAME@ALIAS`, or `models:/NAME` for its champion.

    Returns:
        The version; None if this has to be asked through MLflow: a store without a server, settings that only
        MLflow knows, or any answer but a version, which MLflow explains better.

    Raises:
        TrackingError: The server does not answer.

    Source:
        MLflow, REST API, "Get Model Version by Alias".
    """
    address = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if address.scheme not in ("http", "https") or any(os.environ.get(name) for name in ONLY_MLFLOW_KNOWS):
        return None
    name, _, alias = reference.removeprefix("models:/").partition("@")
    where = address.netloc.rpartition("@")[2]
    query = urlencode({"name": name, "alias": alias or CHAMPION}, quote_via=quote)
    path = f"{address.path.rstrip('/')}/api/2.0/mlflow/registered-models/alias"
    asked = Request(urlunsplit((address.scheme, where, path, query, "")))
    if (credentials := _credentials(address.username, address.password)) is not None:
        asked.add_header("Authorization", credentials)
    try:
        with urlopen(asked, timeout=ANSWER_SECONDS) as answer:
            return str(json.loads(answer.read(MOST_BYTES))["model_version"]["version"])
    except HTTPError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"The tracking server at {where} does not answer: {error}") from error


def _credentials(user: str | None, password: str | None) -> str | None:
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or unquote(user or "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or unquote(password or "")
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None
