"""The OpenAPI document: keys, problems of every route, and the limits of this server."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service.problems import MEDIA_TYPE
from service.settings import Settings

DESCRIPTION = (
    "Forecasts of gridded fields. Send fields as NetCDF or JSON, or ask for the forecast from the server's "
    "own data. `Accept` selects NetCDF, JSON, CoverageJSON or PNG. Errors are problem documents (RFC 9457)."
)
TAGS = {
    "health": "Whether the service is alive and ready, and its metrics.",
    "models": "The served models, and the input that each expects.",
    "forecasts": "Forecasts of uploaded fields, and from the server's own data.",
    "stored forecasts": "Forecasts from the server's own data, the observed fields, and the skill.",
    "jobs": "Long forecasts in the background.",
    "zarr": "Stored forecasts as read-only Zarr 3 stores.",
    "edr": "OGC API-EDR 1.1: a collection for each model, an instance for each stored forecast.",
    "admin": "Loading another version of a model.",
}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457). `type` stays the same over versions.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:stconv:problem:too-large"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
OPENID = "openid"
"""Name of the scheme for bearer tokens of a provider."""
Answers = dict[int | str, dict[str, Any]]
"""Answers of a route by status, as FastAPI takes them."""
EVERYWHERE = (400, 413, 421, 422, 431, 500)
WITH_A_KEY = (401, 403, 429)
PUBLIC = ("/livez", "/readyz")
"""Paths that need no key."""
RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until another try."}}


def problems(*statuses: int) -> Answers:
    """The error answers of a route, for its `responses`."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": RETRY} if status in (409, 429, 503) else {}),
        }
        for status in statuses
    }


def operation_id(route: APIRoute) -> str:
    """The name of the route's function, which generated clients use."""
    return route.name


def document_routes(app: FastAPI, settings: Settings) -> None:
    """Let the application answer /openapi.json with the document of this server."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, settings)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, settings: Settings) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which is never answered
        schemas.pop(name, None)
    schemes = SCHEMES | _openid(settings)
    if settings.needs_keys:
        components["securitySchemes"] = schemes
    for path, operations in found["paths"].items():
        for operation in operations.values():
            with_key = settings.needs_keys and path not in PUBLIC
            if with_key:
                operation["security"] = [{name: []} for name in schemes]
            for status, answer in problems(*EVERYWHERE, *(WITH_A_KEY if with_key else ())).items():
                operation["responses"][str(status)] = answer
            for parameter in operation.get("parameters", ()):
                _describe(parameter, path, settings)
    return found


def _openid(settings: Settings) -> dict[str, dict[str, str]]:
    provider = settings.provider
    if provider is None:
        return {}
    how = {"openIdConnectUrl": provider.document, "description": "A bearer token of the provider."}
    return {OPENID: {"type": "openIdConnect", **how}}


def _describe(parameter: dict[str, Any], path: str, settings: Settings) -> None:
    """State the limit of this server, and no null, which a query or a header cannot hold."""
    schema = parameter["schema"]
    for choice in schema.pop("anyOf", ()):
        if choice["type"] != "null":
            schema.update(choice)
    if parameter["name"] == "steps":
        schema["maximum"] = settings.max_job_steps if path.startswith("/v1/jobs") else settings.max_steps
