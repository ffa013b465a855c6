"""The abstract tests of OGC API-EDR 1.1 (OGC 19-086r6, annex A) that apply to the classes we declare."""

import pytest
from covjson_pydantic.coverage import Coverage
from edr_pydantic.capabilities import ConformanceModel, LandingPageModel
from edr_pydantic.collections import Collection, Collections, Instances

from service.archive.stores import reference_name
from waiting import until

EDR = "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf"
COMMON = "http://www.opengis.net/spec/ogcapi-common"
AIR = "/edr/collections/air"
QUERIES = {
    "position": {"coords": "POINT(4 44)"},
    "area": {"coords": "POLYGON((-1 39, 5 39, 5 45, -1 45, -1 39))"},
    "cube": {"bbox": "-3,39,3,45"},
}


@pytest.fixture(scope="module")
def client(service, service_server):
    """A client, once the newest forecast is stored: the extent of the collection is that of its times."""
    with service.client() as client:
        newest = reference_name(service_server.START + (service_server.N - 1) * service_server.STEP)

        def stored():
            return [instance["id"] for instance in client.get(f"{AIR}/instances").json()["instances"]]

        until(lambda: any(each.startswith(newest) for each in stored()), pause=0.2)
        yield client


@pytest.fixture(scope="module")
def collection(client):
    return client.get("/edr/collections/air").json()


@pytest.fixture(scope="module")
def resources(client, collection):
    """The collection, and an instance of it: both answer the same queries."""
    (newest, *_) = client.get(collection["data_queries"]["instances"]["link"]["href"]).json()["instances"]
    return [collection, newest]


def ok(answer, media_type="application/json"):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == media_type
    return answer


def follow(client, document, rel):
    (link,) = [link for link in document["links"] if link["rel"] == rel]
    return ok(client.get(link["href"]), link["type"].partition(";")[0])


def test_core_root(client):
    """/conf/core/root-op, root-success."""
    LandingPageModel.model_validate_json(ok(client.get("/edr/")).content)
    assert ok(client.get("/edr", follow_redirects=True)).json()["title"]


def test_core_api_definition(client):
    """/conf/core/api-definition-op, api-definition-success: links lead to documents of their types."""
    landing = client.get("/edr/").json()
    paths = follow(client, landing, "service-desc").json()["paths"]
    assert {f"/edr/collections/{{name}}/{query}" for query in QUERIES} <= set(paths)
    assert "<html" in follow(client, landing, "service-doc").text


def test_core_conformance(client):
    """/conf/core/conformance-op, conformance-success."""
    found = follow(client, client.get("/edr/").json(), "conformance")
    ConformanceModel.model_validate_json(found.content)
    declared = found.json()["conformsTo"]
    assert {f"{EDR}/{name}" for name in ("core", "collections", "json", "covjson")} <= set(declared)
    assert {f"{COMMON}-1/1.0/conf/core", f"{COMMON}-2/1.0/conf/collections"} <= set(declared)


def test_collections(client, collection):
    """/conf/collections/rc-md-op, rc-md-success, src-md-op, src-md-success."""
    found = follow(client, client.get("/edr/").json(), "data")
    Collections.model_validate_json(found.content)
    assert found.json()["collections"] == [collection]
    assert follow(client, collection, "self").json() == collection
    Collection.model_validate_json(client.get(AIR).content)


def test_instances(client, resources):
    """/conf/instances/rc-md-op, rc-md-success, src-md-success."""
    collection, newest = resources
    Instances.model_validate_json(client.get(collection["data_queries"]["instances"]["link"]["href"]).content)
    assert follow(client, newest, "self").json() == newest


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_every_resource(client, resources, query):
    """/conf/{position,area,cube}/{coords,bbox}-response, /conf/covjson/content, definition."""
    for resource in resources:
        link = resource["data_queries"][query]["link"]
        answer = ok(client.get(link["href"], params=QUERIES[query]), link["type"])
        Coverage.model_validate_json(answer.content)
        times = answer.json()["domain"]["axes"]["t"]["values"]
        assert times == resource["extent"]["temporal"]["values"]
        west, south, east, north = resource["extent"]["spatial"]["bbox"][0]
        axes = answer.json()["domain"]["axes"]
        assert all(south <= y <= north for y in axes["y"]["values"])
        assert all(west <= (x + 180) % 360 - 180 <= east for x in axes["x"]["values"])


@pytest.mark.parametrize("query", QUERIES)
def test_parameters_of_every_query(client, resources, query):
    """/conf/core/rc-{datetime,parameter-name,crs,f}-{definition,response}."""
    for resource in resources:
        link = resource["data_queries"][query]["link"]
        first, last = (resource["extent"]["temporal"]["values"][i] for i in (0, -1))
        (name,) = resource["parameter_names"]
        variables = link["variables"]
        common = QUERIES[query] | {
            "f": variables["default_output_format"],
            "crs": variables["crs_details"][0]["crs"],
        }
        for datetime, expected in (
            (first, [first]),
            (f"{first}/{first}", [first]),
            (f"{last}/..", [last]),
            (f"../{first}", [first]),
            (f"../{last}", [first, last]),
        ):
            asked = common | {"datetime": datetime, "parameter-name": name}
            found = ok(client.get(link["href"], params=asked), link["type"]).json()
            assert found["domain"]["axes"]["t"]["values"] == expected
            assert list(found["ranges"]) == list(found["parameters"]) == [name]


WRONG = [
    ("position", {"coords": None}),
    ("position", {"coords": ""}),
    ("position", {"coords": "POINT(4)"}),
    ("position", {"coords": "POINT(north east)"}),
    ("position", {"coords": "POLYGON((0 0, 1 0, 1 1, 0 0))"}),
    ("area", {"coords": None}),
    ("area", {"coords": "POINT(4 44)"}),
    ("area", {"coords": "POLYGON((0 0, 1 0, 1 1))"}),
    ("cube", {"bbox": None}),
    ("cube", {"bbox": "1,2,3"}),
    ("cube", {"bbox": "a,b,c,d"}),
    *((query, {"datetime": "yesterday"}) for query in QUERIES),
    *((query, {"crs": "EPSG:99999"}) for query in QUERIES),
    *((query, {"parameter-name": "rain"}) for query in QUERIES),
    *((query, {"coord": "POINT(4 44)"}) for query in QUERIES),
]


@pytest.mark.parametrize(("query", "change"), WRONG, ids=str)
def test_a_wrong_parameter_is_400(client, resources, query, change):
    """/conf/core/rc-*-response, /conf/{position,area,cube}/*-response: 400, as a problem document."""
    asked = {key: value for key, value in (QUERIES[query] | change).items() if value is not None}
    for resource in resources:
        answer = client.get(resource["data_queries"][query]["link"]["href"], params=asked)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 400


@pytest.mark.parametrize(
    "path", ["sea", "sea/position", "air/instances/19990101T000000Z", "air/locations", "sea/instances"]
)
def test_what_does_not_exist_is_404(client, path):
    """/conf/core/http: status codes of RFC 9110."""
    assert client.get(f"/edr/collections/{path}", params={}).status_code == 404 or "position" in path
    if path == "sea/position":
        assert client.get(f"/edr/collections/{path}", params=QUERIES["position"]).status_code == 404
