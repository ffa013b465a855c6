"""`/`, the map, and `/docs`, the list of routes: plain files of this package, nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response

from service.problems import UnknownFile

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json"}
FILES = {
    file.name: (file.read_bytes(), TYPES[file.name[file.name.rindex(".") :]])
    for file in files("service").joinpath("static").iterdir()
    if file.name.endswith(tuple(TYPES))
}
"""Read once; a name from a request is looked up here and never opened."""


@router.get("/")
async def map_page() -> Response:
    """The map."""
    return _page("map.html")


@router.get("/docs")
async def docs_page() -> Response:
    """The routes, from /openapi.json."""
    return _page("docs.html")


@router.get("/static/{name}")
async def static_file(name: str) -> Response:
    """A script, a style sheet or a picture of the pages."""
    return _page(name)


def _page(name: str) -> Response:
    if name not in FILES:
        raise UnknownFile(f"No file {name[:60]!r} belongs to the pages.")
    body, media_type = FILES[name]
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(body, media_type=f"{media_type}; charset=utf-8", headers=headers)
