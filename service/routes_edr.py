"""OGC API - Environmental Data Retrieval 1.1 over the newest forecasts: a collection for each model."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from service.edr_query import read_bbox, read_interval, read_point, read_polygon
from service.keys import require_key
from service.media_types import COVERAGE
from service.models import find_model
from service.problems import Malformed, NotAcceptable, Unavailable
from service.routes_forecasts import Steps, check_price, check_steps, model_headers, require_data, split_names
from service.waiting import while_connected
from service.worker import Worker

router = APIRouter(prefix="/edr", tags=["edr"], dependencies=[Depends(require_key)])

CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/json",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson",
]
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
FORMAT = "CoverageJSON"
ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {COVERAGE: {}}}}
Coords = Annotated[str, Query(max_length=20_000, description="WKT; longitude before latitude.")]
When = Annotated[str | None, Query(alias="datetime", max_length=100, description="A time, or START/END.")]
Names = Annotated[str | None, Query(alias="parameter-name", max_length=1000)]
Crs = Annotated[str | None, Query(max_length=100)]
Format = Annotated[str | None, Query(alias="f", max_length=100)]


@router.get("/")
async def landing() -> dict[str, Any]:
    """The landing page."""
    return {
        "title": "stconv",
        "description": "The newest forecast of each model.",
        "links": [
            _link("/edr/", "self"),
            _link("/edr/conformance", "conformance"),
            _link("/edr/collections", "data"),
            _link("/openapi.json", "service-desc", "application/vnd.oai.openapi+json;version=3.1"),
            _link("/docs", "service-doc", "text/html"),
        ],
    }


@router.get("/conformance")
async def conformance() -> dict[str, list[str]]:
    """The classes of requirements that hold."""
    return {"conformsTo": CONFORMANCE}


@router.get("/collections")
async def collections(request: Request) -> dict[str, Any]:
    """A collection for each model on a geographic grid."""
    workers: dict[str, Worker] = request.app.state.workers
    found = [_collection(worker) for worker in workers.values() if worker.schema["grid"]["geographic"]]
    return {"links": [_link("/edr/collections", "self")], "collections": found}


@router.get("/collections/{name}")
async def collection(request: Request, name: str) -> dict[str, Any]:
    """One model: extent, parameters, and what can be asked."""
    return _collection(find_model(request, name))


@router.get("/collections/{name}/position", response_class=Response, responses=ANSWERS)
async def position(
    request: Request,
    name: str,
    coords: Coords,
    datetime: When = None,
    parameter_name: Names = None,
    crs: Crs = None,
    f: Format = None,
    steps: Steps = None,
) -> Response:
    """The series of the cell that holds POINT(longitude latitude)."""
    _check_form(crs, f)
    return await _ask(request, name, "position", read_point(coords), datetime, parameter_name, steps)


@router.get("/collections/{name}/area", response_class=Response, responses=ANSWERS)
async def area(
    request: Request,
    name: str,
    coords: Coords,
    datetime: When = None,
    parameter_name: Names = None,
    crs: Crs = None,
    f: Format = None,
    steps: Steps = None,
) -> Response:
    """The cells whose centers lie in POLYGON((longitude latitude, ...)); null around them."""
    _check_form(crs, f)
    return await _ask(request, name, "area", read_polygon(coords), datetime, parameter_name, steps)


@router.get("/collections/{name}/cube", response_class=Response, responses=ANSWERS)
async def cube(
    request: Request,
    name: str,
    bbox: Annotated[str, Query(max_length=200, description="WEST,SOUTH,EAST,NORTH")],
    datetime: When = None,
    parameter_name: Names = None,
    crs: Crs = None,
    f: Format = None,
    steps: Steps = None,
) -> Response:
    """The cells whose centers lie in a box, which may cross the date line."""
    _check_form(crs, f)
    return await _ask(request, name, "cube", read_bbox(bbox), datetime, parameter_name, steps)


async def _ask(
    request: Request,
    name: str,
    query: str,
    where: Any,
    when: str | None,
    names: str | None,
    steps: int | None,
) -> Response:
    if request.app.state.draining:
        raise Unavailable("The server is draining; ask again.", retry_after_seconds=5)
    worker, settings = find_model(request, name), request.app.state.settings
    require_data(settings)
    check_steps(steps, settings)
    check_price(worker, steps, settings)
    interval = read_interval(when)
    asked = {
        "kind": "edr",
        "query": query,
        "where": where,
        "start": interval.start and interval.start.isoformat(),
        "end": interval.end and interval.end.isoformat(),
        "variables": split_names(names),
        "steps": steps,
        "media_type": COVERAGE,
    }
    answer = await while_connected(request, worker.ask(asked))
    return Response(answer.body, media_type=answer.media_type, headers=model_headers(worker) | answer.headers)


def _check_form(crs: str | None, form: str | None) -> None:
    if crs not in (None, "CRS84", "OGC:CRS84", CRS84):
        raise Malformed(f"crs {crs[:60]!r} is not known; coordinates are CRS84 (longitude, latitude).")
    if form not in (None, FORMAT, COVERAGE):
        raise NotAcceptable(f"f={form[:60]!r} is not given; known: {FORMAT}.", available=[FORMAT])


def _collection(worker: Worker) -> dict[str, Any]:
    grid, base = worker.schema["grid"], f"/edr/collections/{worker.name}"
    if not grid["geographic"]:
        extent = None
    else:
        west, east = grid["lon"]["first"], grid["lon"]["last"]
        extent = {
            "spatial": {"bbox": [[west, grid["lat"]["first"], east, grid["lat"]["last"]]], "crs": "CRS84"}
        }
    return {
        "id": worker.name,
        "title": worker.name,
        "description": f"{worker.schema['leads']} leads of {worker.schema['step']['label']}; "
        f"version {worker.version}.",
        "links": [_link(base, "self")],
        "extent": extent,
        "crs": ["CRS84"],
        "output_formats": [FORMAT],
        "data_queries": {
            query: {
                "link": _link(f"{base}/{query}", "data", COVERAGE)
                | {"variables": {"query_type": query, "output_formats": [FORMAT]}}
            }
            for query in ("position", "area", "cube")
        },
        "parameter_names": {
            target["name"]: {
                "type": "Parameter",
                "observedProperty": {"label": target["name"]},
                "unit": {"symbol": target["units"]},
            }
            for target in worker.schema["targets"]
        },
    }


def _link(href: str, rel: str, kind: str = "application/json") -> dict[str, str]:
    return {"href": href, "rel": rel, "type": kind}
