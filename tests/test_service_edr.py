"""OGC API-EDR of a real server: a cut holds the values of the whole forecast in its place."""

import numpy as np
import pytest
from covjson_pydantic.coverage import Coverage, CoverageCollection
from edr_pydantic.capabilities import ConformanceModel, LandingPageModel
from edr_pydantic.collections import Collection, Collections, Instances

from waiting import until

BASE = "/edr/collections/air"


@pytest.fixture(scope="module")
def whole(service_server, service_bundle):
    from stconv.forecast import Forecaster

    return Forecaster.from_path(service_bundle).forecast(service_server.fields())["t2m"]


def asked(client, query, **parameters):
    answer = client.get(f"{BASE}/{query}", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/prs.coverage+json"
    Coverage.model_validate(answer.json())
    return answer.json()


def values(coverage):
    found = coverage["ranges"]["t2m"]
    return np.array(found["values"], float).astype("f4").reshape(found["shape"])


def test_landing_leads_to_every_query(client, service):
    links = {link["rel"]: link["href"] for link in client.get("/edr/").json()["links"]}
    assert any(c.endswith("/conf/covjson") for c in client.get(links["conformance"]).json()["conformsTo"])
    [collection] = client.get(links["data"]).json()["collections"]
    assert collection["id"] == "air"
    assert collection["extent"]["spatial"]["bbox"] == [[-10, 36, 8, 50]]
    assert collection["parameter_names"]["t2m"]["unit"]["symbol"] == "K"
    assert client.get(f"{BASE}").json() == collection
    position = collection["data_queries"]["position"]["link"]["href"]
    assert position == f"{service.url}{BASE}/position", "absolute, as most clients expect"
    assert position in {link["href"] for link in collection["links"] if link["rel"] == "data"}


def test_documents_are_valid(client):
    """By models of another hand, which forbid what the standard does not know."""
    LandingPageModel.model_validate_json(client.get("/edr/").content)
    ConformanceModel.model_validate_json(client.get("/edr/conformance").content)
    Collections.model_validate_json(client.get("/edr/collections").content)
    Collection.model_validate_json(client.get(BASE).content)


def test_stored_forecasts_are_instances(client, service_server, service_bundle):
    from stconv.forecast import Forecaster

    until(lambda: client.get(f"{BASE}/instances").json()["instances"][1:], pause=0.2)
    found = client.get(f"{BASE}/instances").json()["instances"]
    Instances.model_validate_json(client.get(f"{BASE}/instances").content)
    oldest = found[-1]
    assert client.get(oldest["links"][0]["href"]).json() == oldest
    first_lead = np.datetime64(oldest["extent"]["temporal"]["values"][0].removesuffix("Z"))
    n = round((first_lead - service_server.START) / service_server.STEP)
    expected = Forecaster.from_path(service_bundle).forecast(service_server.fields().isel(time=slice(0, n)))
    query = oldest["data_queries"]["position"]["link"]["href"]
    answer = client.get(query, params={"coords": "POINT(4.9 44.6)"})
    assert answer.json()["domain"]["axes"]["t"]["values"] == oldest["extent"]["temporal"]["values"]
    np.testing.assert_allclose(
        values(answer.json()), expected["t2m"].sel(latitude=44, longitude=4), rtol=1e-6
    )
    nowhere = client.get(f"{BASE}/instances/19990101T000000Z/position", params={"coords": "POINT(4 44)"})
    assert nowhere.status_code == 404


def test_position(client, whole):
    found = asked(client, "position", coords="POINT(4.9 44.6)")
    assert found["domain"]["domainType"] == "PointSeries"
    axes = found["domain"]["axes"]
    assert (axes["x"]["values"], axes["y"]["values"]) == ([4.0], [44.0])
    np.testing.assert_allclose(values(found), whole.sel(latitude=44, longitude=4), rtol=1e-6)


def test_cube_across_greenwich(client, whole):
    found = asked(client, "cube", bbox="-3,39,3,45")
    assert found["domain"]["axes"]["x"]["values"] == [358, 0, 2]
    np.testing.assert_allclose(
        values(found), whole.sel(longitude=[358, 0, 2], latitude=[44, 42, 40]), rtol=1e-6
    )


def test_area_is_null_around_the_polygon(client, whole):
    """A triangle by hand: of the cells 0..4 E, 40..44 N those with x + (y - 40) below 4.5 are inside."""
    found = asked(client, "area", coords="POLYGON((-0.5 39.5, 5 39.5, -0.5 45, -0.5 39.5))")
    box = whole.sel(longitude=[0, 2, 4], latitude=[44, 42, 40])
    inside = np.array([[True, False, False], [True, True, False], [True, True, True]])
    np.testing.assert_allclose(values(found), np.where(inside, box, np.nan), rtol=1e-6)


def test_a_hole_and_a_second_polygon(client, whole):
    """By hand: of the cells 0..6 E, 40..46 N one is cut out, and of another polygon one is added."""
    outer, hole = "(-1 39, 5 39, 5 45, -1 45, -1 39)", "(1 41, 3 41, 3 43, 1 43, 1 41)"
    with_hole = asked(client, "area", coords=f"POLYGON({outer}, {hole})")
    box = whole.sel(longitude=[0, 2, 4], latitude=[44, 42, 40])
    inside = np.ones((3, 3), bool)
    inside[1, 1] = False
    np.testing.assert_allclose(values(with_hole), np.where(inside, box, np.nan), rtol=1e-6)
    both = asked(client, "area", coords=f"MULTIPOLYGON(({outer}, {hole}), ((5 45, 7 45, 7 47, 5 47, 5 45)))")
    box = whole.sel(longitude=[0, 2, 4, 6], latitude=[46, 44, 42, 40])
    inside = np.pad(inside, ((1, 0), (0, 1)))
    inside[0, 3] = True
    np.testing.assert_allclose(values(both), np.where(inside, box, np.nan), rtol=1e-6)


def test_many_points_are_a_collection(client, whole):
    answer = client.get(f"{BASE}/position", params={"coords": "MULTIPOINT((4.9 44.6), (-2 40))"})
    assert answer.headers["content-type"] == "application/prs.coverage+json"
    CoverageCollection.model_validate_json(answer.content)
    found = answer.json()
    assert found["domainType"] == "PointSeries"
    for coverage, (lon, lat) in zip(found["coverages"], [(4, 44), (358, 40)], strict=True):
        np.testing.assert_allclose(values(coverage), whole.sel(latitude=lat, longitude=lon), rtol=1e-6)


def test_times_and_names(client):
    one = asked(client, "position", coords="POINT(4 44)", datetime="2020-01-11T06:00:00Z")
    assert one["domain"]["axes"]["t"]["values"] == ["2020-01-11T06:00:00Z"]
    first = asked(client, "position", coords="POINT(4 44)", datetime="../2020-01-11T01:00:00+01:00")
    assert first["domain"]["axes"]["t"]["values"] == ["2020-01-11T00:00:00Z"]
    more = asked(client, "position", coords="POINT(4 44)", steps=3, **{"parameter-name": "t2m"})
    assert more["ranges"]["t2m"]["shape"] == [3]


@pytest.mark.parametrize(
    ("query", "parameters", "status", "says"),
    [
        ("position", {"coords": "POINT(4)"}, 400, "POINT"),
        ("position", {"coords": "POINT(nan 44)"}, 400, "POINT"),
        ("position", {"coords": "POINT(4 80)"}, 422, "latitude 80"),
        ("position", {}, 400, "coords"),
        ("position", {"coords": "POINT(4 44)", "crs": "EPSG:3857"}, 400, "CRS84"),
        ("position", {"coords": "POINT(4 44)", "f": "GeoTIFF"}, 406, "CoverageJSON"),
        ("position", {"coords": "POINT(4 44)", "parameter-name": "rain"}, 400, "'rain'"),
        ("position", {"coords": "POINT(4 44)", "datetime": "noon"}, 400, "noon"),
        ("position", {"coords": "POINT(4 44)", "datetime": "1999-01-01"}, 422, "2020-01-11T00:00:00Z"),
        ("position", {"coords": "POINT(4 44)", "datetime": "2021-01-01/2020-01-01"}, 400, "before"),
        ("area", {"coords": "POLYGON((0 0, 1 1, 0 0))"}, 400, "4 to 1000"),
        ("area", {"coords": "POLYGON((0 40, 4 40, 4 44, 0 44))"}, 400, "ends at its first point"),
        ("area", {"coords": "POLYGON((" + "0 0," * 1001 + "0 0))"}, 400, "1000"),
        ("area", {"coords": "POLYGON((60 0, 61 0, 61 1, 60 0))"}, 422, "No cell"),
        ("cube", {"bbox": "1,2,3"}, 400, "WEST"),
        ("cube", {"bbox": "1,50,3,40"}, 400, "south"),
        ("cube", {"bbox": "60,0,61,1"}, 422, "36 to 50"),
        ("cube", {"bbox": "0,40,4,44", "steps": "many"}, 400, "steps"),
        ("cube", {"bbox": "0,40,4,44", "z": "2"}, 400, "Unknown parameter; known: bbox, crs, datetime, f"),
    ],
)
def test_refusals(client, query, parameters, status, says):
    answer = client.get(f"{BASE}/{query}", params=parameters)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_unknown_collection(client):
    answer = client.get("/edr/collections/sea/position", params={"coords": "POINT(4 44)"})
    assert answer.status_code == 404
    assert "'sea'" in answer.json()["detail"]
