"""The page of the service's routes, from its OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from reference_pages.markdown import code, table, written_by
from service.app import create_app
from service.settings import Settings


def page() -> str:
    """Write the page."""
    document = openapi()
    parts = [
        written_by("http_routes"),
        "# Routes of the service\n\nA running service answers `/openapi.json` with the same as a document of "
        "OpenAPI "
        f"{document['openapi']}, and shows it at `/docs`. Statuses are explained in {{doc}}`errors`; limits "
        "in "
        "{doc}`service-settings`.\n",
    ]
    for tag in document["tags"]:
        parts.append(f"\n## {tag['name'][0].upper()}{tag['name'][1:]}\n\n{tag['description']}\n")
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if operation.get("tags", ["?"])[0] == tag["name"]:
                    parts.append(_route(method, path, operation))
    return "".join(parts)


def openapi() -> dict[str, Any]:
    """The document of a service that asks for keys."""
    found: dict[str, Any] = create_app(Settings(api_keys=["0" * 64])).openapi()
    return found


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    words = " ".join(operation.get("description", operation.get("summary", "")).split())
    parts = [f"\n### {method.upper()} {path}\n\n{words}\n"]
    parameters = [
        [
            code(p["name"]),
            p["in"],
            _schema(p["schema"]),
            "yes" if p.get("required") else "no",
            p.get("description", ""),
        ]
        for p in operation.get("parameters", ())
    ]
    if parameters:
        parts.append("\n" + table(["parameter", "in", "type", "required", "meaning"], parameters))
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        parts.append(f"\nBody: {', '.join(map(code, body))}.\n")
    good = {status: answer for status, answer in operation["responses"].items() if status < "300"}
    for status, answer in good.items():
        kinds = ", ".join(map(code, answer.get("content", {})))
        words = answer["description"].rstrip(".").replace("Successful Response", "")  # that of FastAPI
        parts.append(f"\nAnswer {status}{f': {words}' if words else ''}{f' ({kinds})' if kinds else ''}.\n")
    bad = sorted(set(operation["responses"]) - set(good))
    parts.append(f"\nErrors: {', '.join(bad)}.\n")
    return "".join(parts)


def _schema(schema: dict[str, Any]) -> str:
    """A type with its limits and its default."""
    words = code(schema.get("type", schema.get("title", "value")))
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    said = [f"{text} {schema[key]}" for key, text in limits.items() if key in schema]
    said += [f"default {code(json.dumps(schema['default']))}"] if schema.get("default") is not None else []
    said += [f"one of {', '.join(map(code, schema['enum']))}"] if "enum" in schema else []
    return ", ".join([words, *said])
