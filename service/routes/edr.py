"""OGC API-EDR 1.1: a collection for each model, an instance for each stored forecast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.archive.table import StoredForecasts, UnknownForecast
from service.http.key_limits import pay_for_values
from service.http.keys import require_key
from service.http.models import find_model, refuse_while_draining, stored_of
from service.http.openapi import Answers, problems
from service.http.parameters import ONLY_KNOWN
from service.http.streaming import spooled
from service.http.waiting import while_connected
from service.media_types import COVERAGE
from service.problems import Malformed, NotAcceptable
from service.routes import edr_metadata as metadata
from service.routes.documents import Collection, CollectionList, Conformance, InstanceList, Landing
from service.routes.edr_query import read_bbox, read_interval
from service.routes.forecasts import OBJECT, Steps, model_headers, require_data, split_names
from service.routes.prices import check_computed, check_cut, check_steps
from service.routes.wkt import read_area, read_position
from service.wire.model_messages import AtPosition, AtPositions, Cut, CutNewest, CutStored, InArea, InCube
from service.workers.worker import Worker
from stconv.clock import GREGORIAN_CALENDARS

router = APIRouter(prefix="/edr", tags=["edr"], dependencies=[Depends(require_key), ONLY_KNOWN])
FOUND: Answers = {200: {"content": {COVERAGE: OBJECT}}}
ANSWERS = FOUND | problems(404, 406, 410, 503, 504)
Point = Annotated[
    str,
    Query(
        max_length=20_000,
        description="WKT of a POINT or a MULTIPOINT, longitude before latitude; heights are passed over.",
        examples=["POINT(4.9 44.6)", "MULTIPOINT((4.9 44.6), (-2 40))"],
        json_schema_extra={"format": "wkt-point"},
    ),
]
Polygon = Annotated[
    str,
    Query(
        max_length=20_000,
        description="WKT of a POLYGON or a MULTIPOLYGON, longitude before latitude; rings inside are holes.",
        examples=["POLYGON((0 39, 5 39, 5 45, 0 39))"],
        json_schema_extra={"format": "wkt-polygon"},
    ),
]
Bbox = Annotated[
    str,
    Query(
        max_length=200,
        description="WEST,SOUTH,EAST,NORTH in degrees; WEST may exceed EAST, across the date line.",
        examples=["-3,39,3,45"],
        json_schema_extra={"format": "bbox"},
    ),
]
SYSTEMS = ("CRS84", "OGC:CRS84", metadata.CRS84)
FORMATS = (metadata.FORMAT, COVERAGE)
Instance = Annotated[
    str, Path(max_length=60, description="Reference time, like 20141231T180000Z; .VERSION may follow.")
]
CollectionName = Annotated[str, Path(description="Name of the model.")]
COLLECTION = "/collections/{name}"
INSTANCE = "/collections/{name}/instances/{instance}"


@dataclass(frozen=True)
class Wish:
    """Valid times and variables of a query, see `Cut`."""

    start: str | None
    end: str | None
    variables: tuple[str, ...] | None

    def at(self, where: AtPosition | AtPositions | InArea | InCube) -> Cut:
        """The same, for these cells."""
        return Cut(where, self.start, self.end, self.variables)


def wanted(
    datetime: Annotated[
        str | None,
        Query(
            max_length=100,
            description="A time, or START/END with `..` for an open end.",
            examples=["2020-01-11T06:00:00Z", "../2020-01-12T00:00:00Z"],
            json_schema_extra={"format": "interval"},
        ),
    ] = None,
    parameter_name: Annotated[
        str | None,
        Query(
            alias="parameter-name",
            max_length=1000,
            description="Variables to return, comma-separated; default: all.",
            examples=["t2m"],
            json_schema_extra={"format": "names"},
        ),
    ] = None,
    crs: Annotated[
        str | None,
        Query(max_length=100, description="Reference system.", json_schema_extra={"enum": list(SYSTEMS)}),
    ] = None,
    f: Annotated[
        str | None,
        Query(max_length=100, description="Format of the answer.", json_schema_extra={"enum": list(FORMATS)}),
    ] = None,
) -> Wish:
    """Parse the parameters common to all queries: times, variables, reference system and format.

    Raises:
        Malformed: The reference system is not CRS84, or `datetime` cannot be parsed.
        NotAcceptable: The format is not supported.
    """
    if crs is not None and crs not in SYSTEMS:
        raise Malformed(f"crs {crs[:60]!r} is not supported; expected CRS84 (longitude, latitude).")
    if f is not None and f not in FORMATS:
        raise NotAcceptable(
            f"f={f[:60]!r} is not supported; known: {metadata.FORMAT}.", available=[metadata.FORMAT]
        )
    interval = read_interval(datetime)
    return Wish(
        interval.start.isoformat() if interval.start else None,
        interval.end.isoformat() if interval.end else None,
        split_names(parameter_name),
    )


Wanted = Annotated[Wish, Depends(wanted)]


@router.get("/", response_model=Landing)
async def landing(request: Request) -> dict[str, Any]:
    """The landing page."""
    return metadata.landing(str(request.base_url))


@router.get("/conformance", response_model=Conformance)
async def conformance() -> dict[str, list[str]]:
    """The conformance classes that the service meets."""
    return {"conformsTo": metadata.CONFORMANCE}


@router.get("/collections", response_model=CollectionList)
async def collections(request: Request) -> dict[str, Any]:
    """A collection for each model on a geographic grid, in the Gregorian calendar."""
    workers: dict[str, Worker] = request.app.state.workers
    found = [_collection(request, name) for name, w in workers.items() if _objection(w) is None]
    links = [metadata.link(f"{request.base_url}edr/collections", "self")]
    return {"links": links, "collections": found}


@router.get(COLLECTION, response_model=Collection, responses=problems(404))
async def collection(request: Request, name: CollectionName) -> dict[str, Any]:
    """One model: extent, parameters and available queries."""
    return _collection(request, name)


@router.get("/collections/{name}/instances", response_model=InstanceList, responses=problems(404))
async def instances(request: Request, name: CollectionName) -> dict[str, Any]:
    """The stored forecasts of a model, newest first, those of earlier versions after the present one."""
    worker, stored = stored_of(request, _geographic(request, name).name)
    base = str(request.base_url)
    forecasts = [*reversed(stored.by_name.values()), *reversed(stored.earlier)]
    found = [metadata.instance(worker, forecast, base) for forecast in forecasts]
    here = f"{base}edr/collections/{worker.name}/instances"
    return {"links": [metadata.link(here, "self")], "instances": found}


@router.get(INSTANCE, response_model=Collection, responses=problems(404, 410))
async def instance(request: Request, name: CollectionName, instance: Instance) -> dict[str, Any]:
    """One stored forecast."""
    worker, stored = stored_of(request, _geographic(request, name).name)
    return metadata.instance(worker, stored.get(instance), str(request.base_url))


@router.get(f"{COLLECTION}/position", response_class=Response, responses=ANSWERS)
async def position(
    request: Request, name: CollectionName, coords: Point, wanted: Wanted, steps: Steps = None
) -> Response:
    """The time series of the cell that contains POINT(longitude latitude); one each for a MULTIPOINT."""
    return await _newest(request, name, steps, wanted.at(read_position(coords)))


@router.get(f"{COLLECTION}/area", response_class=Response, responses=ANSWERS)
async def area(
    request: Request, name: CollectionName, coords: Polygon, wanted: Wanted, steps: Steps = None
) -> Response:
    """The cells whose centers lie in POLYGON((longitude latitude, ...)) or a MULTIPOLYGON; null outside."""
    return await _newest(request, name, steps, wanted.at(read_area(coords)))


@router.get(f"{COLLECTION}/cube", response_class=Response, responses=ANSWERS)
async def cube(
    request: Request, name: CollectionName, bbox: Bbox, wanted: Wanted, steps: Steps = None
) -> Response:
    """The cells whose centers lie in a box, which may cross the date line."""
    return await _newest(request, name, steps, wanted.at(InCube(*read_bbox(bbox))))


@router.get(f"{INSTANCE}/position", response_class=Response, responses=ANSWERS)
async def position_of_instance(
    request: Request, name: CollectionName, instance: Instance, coords: Point, wanted: Wanted
) -> Response:
    """The same query on a stored forecast."""
    return await _stored(request, name, instance, wanted.at(read_position(coords)))


@router.get(f"{INSTANCE}/area", response_class=Response, responses=ANSWERS)
async def area_of_instance(
    request: Request, name: CollectionName, instance: Instance, coords: Polygon, wanted: Wanted
) -> Response:
    """The same query on a stored forecast."""
    return await _stored(request, name, instance, wanted.at(read_area(coords)))


@router.get(f"{INSTANCE}/cube", response_class=Response, responses=ANSWERS)
async def cube_of_instance(
    request: Request, name: CollectionName, instance: Instance, bbox: Bbox, wanted: Wanted
) -> Response:
    """The same query on a stored forecast."""
    return await _stored(request, name, instance, wanted.at(InCube(*read_bbox(bbox))))


async def _newest(request: Request, name: str, steps: int | None, cut: Cut) -> Response:
    worker, settings = find_model(request, name), request.app.state.settings
    require_data(settings)
    check_steps(worker, steps, settings)
    _check_names(cut.variables, worker.facts.names)
    values = check_computed(worker, steps, settings)
    check_cut(worker, steps or worker.facts.leads, cut.where, cut.variables, settings)
    await pay_for_values(request, values)
    return await _ask(request, worker, CutNewest(cut, steps))


async def _stored(request: Request, name: str, instance: str, cut: Cut) -> Response:
    worker, stored = stored_of(request, name)
    found = stored.get(instance)
    _check_names(cut.variables, found.shapes)
    check_cut(worker, found.leads, cut.where, cut.variables, request.app.state.settings)
    return await _ask(request, worker, CutStored(cut, str(found.path)))


async def _ask(request: Request, worker: Worker, asked: CutNewest | CutStored) -> Response:
    refuse_while_draining(request)
    answer = await while_connected(request, worker.ask(asked))
    headers = model_headers(worker) | answer.headers
    return await spooled(request, answer, headers)


def _check_names(asked: tuple[str, ...] | None, known: Iterable[str]) -> None:
    """Refuse names that are not forecast, with 400 as OGC API-EDR demands (rc-parameter-name-response)."""
    known = list(known)
    if unknown := [name for name in asked or () if name not in known]:
        raise Malformed(f"parameter-name {unknown[0][:60]!r} is not forecast; known: {', '.join(known)}.")


def _geographic(request: Request, name: str) -> Worker:
    worker = find_model(request, name)
    if objection := _objection(worker):
        raise UnknownForecast(f"{worker.name} {objection}; ask /v1/forecasts/latest for the whole field.")
    return worker


def _objection(worker: Worker) -> str | None:
    """The reason why a model is not a collection."""
    if not worker.facts.geographic:
        return "is not on a geographic grid"
    calendar = worker.facts.calendar
    if calendar not in GREGORIAN_CALENDARS:
        return f"is in the calendar '{calendar}', but CoverageJSON supports the Gregorian calendar only"
    return None


def _collection(request: Request, name: str) -> dict[str, Any]:
    worker = _geographic(request, name)
    stored: StoredForecasts | None = request.app.state.stored.get(worker.name)
    return metadata.collection(worker, stored, str(request.base_url))
