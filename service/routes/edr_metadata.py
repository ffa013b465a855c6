"""OGC API-EDR documents: a model is a collection, a stored forecast an instance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from service.archive.stores import as_instant, iso_time
from service.archive.table import StoredForecast, StoredForecasts, dimensions, per_forecast
from service.media_types import COVERAGE
from service.workers.worker import Worker

CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/instances",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/json",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson",
]
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
GREGORIAN = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
FORMAT = "CoverageJSON"
QUERIES = ("position", "area", "cube")


def link(href: str, rel: str, kind: str = "application/json") -> dict[str, str]:
    """A link of a document."""
    return {"href": href, "rel": rel, "type": kind}


def landing(base: str) -> dict[str, Any]:
    """The landing page; `base` is the server's URL with a trailing slash."""
    return {
        "title": "stconv",
        "description": "The newest forecast and the stored forecasts of each model.",
        "links": [
            link(f"{base}edr/", "self"),
            link(f"{base}edr/conformance", "conformance"),
            link(f"{base}edr/collections", "data"),
            link(f"{base}openapi.json", "service-desc"),
            link(f"{base}docs", "service-doc", "text/html"),
        ],
    }


def collection(worker: Worker, stored: StoredForecasts | None, base: str) -> dict[str, Any]:
    """One model on a geographic grid: extent, parameters and available queries."""
    here = f"{base}edr/collections/{worker.name}"
    facts = worker.facts
    names = list(stored.by_name) if stored else []
    found = {
        "id": worker.name,
        "title": worker.name,
        "description": f"{facts.leads} leads of {facts.step}; version {worker.version}.",
        "keywords": ["forecast", *(target.name for target in (*facts.targets, *facts.directions))],
        **_facts(worker, here, names[-1:], facts.leads),
    }
    if names:
        queries = found["data_queries"]
        queries["instances"] = _query(f"{here}/instances", "instances")
    return found


def instance(worker: Worker, forecast: StoredForecast, base: str) -> dict[str, Any]:
    """One stored forecast of a model, of any version."""
    here = f"{base}edr/collections/{worker.name}/instances/{forecast.id}"
    title = f"Forecast from {iso_time(forecast.name)} by version {forecast.version}"
    found = {"id": forecast.id, "title": title, **_facts(worker, here, [forecast.name], forecast.leads)}
    return found | {"parameter_names": _parameters_of(forecast)}


def _facts(worker: Worker, here: str, names: list[str], leads: int) -> dict[str, Any]:
    facts = worker.facts
    rows, columns = facts.rows, facts.columns
    extent: dict[str, Any] = {
        "spatial": {"bbox": [[columns[0], rows[0], columns[-1], rows[-1]]], "crs": "CRS84"}
    }
    if names and facts.step_seconds is not None:
        extent["temporal"] = _temporal(names[0], facts.step_seconds, leads)
    return {
        "links": [link(here, "self"), *(link(f"{here}/{query}", "data", COVERAGE) for query in QUERIES)],
        "extent": extent,
        "crs": ["CRS84"],
        "output_formats": [FORMAT],
        "data_queries": {query: _query(f"{here}/{query}", query) for query in QUERIES},
        "parameter_names": {
            f"{target.name}{bound}": _parameter(f"{target.name}{bound}", target.units)
            for target in facts.targets
            for bound in ("", *facts.bands)
        }
        | {direction.name: _parameter(direction.name, direction.units) for direction in facts.directions},
    }


def _parameters_of(forecast: StoredForecast) -> dict[str, Any]:
    return {
        name: _parameter(name, array["attributes"].get("units"))
        for name, array in forecast.arrays.items()
        if len(dimensions(array)) > 1 and per_forecast(name, forecast.arrays)
    }


def _temporal(reference: str, step_seconds: int, leads: int) -> dict[str, Any]:
    begin = as_instant(reference)
    times = [
        f"{begin + timedelta(seconds=step_seconds * lead):%Y-%m-%dT%H:%M:%SZ}" for lead in range(1, leads + 1)
    ]
    return {"interval": [[times[0], times[-1]]], "values": times, "trs": GREGORIAN}


def _query(href: str, kind: str) -> dict[str, Any]:
    variables: dict[str, Any] = {"query_type": kind}
    if kind != "instances":
        variables |= {"output_formats": [FORMAT], "default_output_format": FORMAT}
    found: dict[str, Any] = link(href, "data", COVERAGE if kind in QUERIES else "application/json")
    if kind in QUERIES:
        variables["crs_details"] = [{"crs": "CRS84", "wkt": CRS84_WKT}]
    return {"link": found | {"variables": variables}}


def _parameter(name: str, units: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "Parameter", "observedProperty": {"label": name}}
    return found | ({"unit": {"symbol": units}} if units else {})


CRS84_WKT = (
    'GEOGCS["WGS 84 (CRS84)",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AXIS["Longitude",EAST],AXIS["Latitude",NORTH],'
    'AUTHORITY["OGC","CRS84"]]'
)
