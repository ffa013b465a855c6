"""The web pages: `/`, the map, and `/docs`, the list of routes. They load nothing from other servers."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from service.problems import UnknownFile

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".txt": "text/plain",
}
FILES = {
    file.name: (file.read_bytes(), TYPES[file.name[file.name.rindex(".") :]])
    for file in files("service").joinpath("static").iterdir()
    if file.name.endswith(tuple(TYPES))
}
"""Static files by name, read at import; a name from a request is looked up here, never opened."""

TAGS = {name: f'"{hashlib.sha256(body).hexdigest()[:16]}"' for name, (body, _) in FILES.items()}
"""A tag of the content of each file, so that a browser that has it is not sent it again."""


@router.get("/")
async def map_page(request: Request) -> Response:
    """The map page."""
    return _page("map.html", request)


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """The list of routes, made from /openapi.json."""
    return _page("docs.html", request)


@router.get("/static/{name}")
async def static_file(name: str, request: Request) -> Response:
    """A script, style sheet or table of the web pages."""
    return _page(name, request)


def _page(name: str, request: Request) -> Response:
    if name not in FILES:
        raise UnknownFile(f"There is no file {name[:60]!r} in the web pages.")
    body, media_type = FILES[name]
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "ETag": TAGS[name]}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if TAGS[name] in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=f"{media_type}; charset=utf-8", headers=headers)
