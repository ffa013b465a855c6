"""Every way to be refused by a real server: the status, the media type, and what the message names."""

import json
import socket

import numpy as np
import pytest

from waiting import LIMIT_SECONDS


def post(client, body, content_type="application/json", **options):
    if isinstance(body, dict):
        body = json.dumps(body)
    headers = {"Content-Type": content_type} | options.pop("headers", {})
    return client.post("/v1/forecasts", content=body, headers=headers, **options)


def problem(answer, status, *says):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    for text in says:
        assert text in document["detail"], document["detail"]
    return document


# What is asked for


def test_unknown_resource(client):
    problem(client.get("/v2/forecasts"), 404, "/v2/forecasts")


def test_unknown_method(client):
    problem(client.delete("/v1/models"), 405)


@pytest.mark.parametrize("name", ["nobody", "../../etc/passwd", "http://example.org/x", "a" * 150, "\u202e"])
def test_unknown_model(client, made, name):
    answer = post(client, made.as_json(made.fields()), params={"model": name})
    assert problem(answer, 404, "air")["models"] == ["air"]


def test_unknown_model_in_the_path(client):
    problem(client.get("/v1/models/nobody"), 404, "'nobody'", "air")
    assert client.get("/v1/models/..%2f..%2fetc%2fpasswd").status_code == 404


def test_not_acceptable(client, made):
    answer = post(client, made.as_json(made.fields()), headers={"Accept": "video/mp4"})
    assert problem(answer, 406, "video/mp4")["available"][:2] == [made.NETCDF, made.JSON]
    problem(post(client, {}, headers={"Accept": "application/json;q=0"}), 406)
    other = client.get("/v1/forecasts/latest", headers={"Accept": "application/json;q=0, */*"})
    assert (other.status_code, other.headers["content-type"]) == (200, made.NETCDF)
    assert "Accept" in other.headers["vary"]


@pytest.mark.parametrize("steps", ["0", "-1", "1.5", "many", "999999999999999999999"])
def test_steps_that_are_none(client, made, steps):
    problem(post(client, made.as_json(made.fields()), params={"steps": steps}), 422, "steps")


def test_too_many_steps(client, made):
    document = problem(post(client, made.as_json(made.fields()), params={"steps": 1001}), 422, "1001", "1000")
    assert (document["steps"], document["limit"]) == (1001, 1000)


@pytest.mark.parametrize(
    "query",
    ["", "latitude=1", "latitude=x&longitude=1", "latitude=nan&longitude=1", "latitude=91&longitude=1"],
)
def test_point_without_a_place(client, query):
    problem(client.get(f"/v1/forecast?{query}"), 422, "l")


def test_variables_that_are_not_forecast(client, made):
    answer = post(client, made.as_json(made.fields()), params={"variables": "t2m,rain"})
    problem(answer, 422, "'rain'", "t2m")
    problem(client.get("/v1/forecasts/latest?variables=rain"), 422, "'rain'", "t2m")


def test_foreign_host(client):
    problem(client.get("/livez", headers={"Host": "evil.example"}), 421, "evil.example")


# What is sent


@pytest.mark.parametrize(
    "content_type", ["application/x-grib", "application/zip", "text/csv", "application/zarr", ""]
)
def test_unsupported_media(client, content_type):
    problem(post(client, b"x", content_type), 415, "application/x-netcdf")


def test_compressed_body(client):
    answer = post(client, b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    problem(answer, 415, "gzip")


@pytest.mark.parametrize(
    ("body", "says"), [(b"GRIB\x00", "GRIB"), (b"PK\x03\x04", "Zarr"), (b"CDF\x05....", "CDF-5")]
)
def test_other_formats_that_say_netcdf(client, made, body, says):
    problem(post(client, body, made.NETCDF), 415, says)


def test_declared_too_large(client, made):
    size = made.BODY_LIMIT + 1
    document = problem(post(client, b"x" * size, made.NETCDF), 413, str(size), str(made.BODY_LIMIT))
    assert (document["body_bytes"], document["limit_bytes"]) == (size, made.BODY_LIMIT)


def test_too_large_without_a_declared_length(service, made):
    """Chunked: the size shows only as it arrives."""
    head = f"POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {made.NETCDF}\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    status, body = raw(service.port, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 8)
    assert status == 413
    assert f'"limit_bytes":{made.BODY_LIMIT}' in body


def test_more_values_than_allowed(client, made):
    body = made.as_json(made.fields(1))
    body["latitude"] = list(range(400))
    body["longitude"] = list(range(400))
    document = problem(post(client, body), 413, "1280000", "1000000")
    assert document["limit_bytes"] == 1000000


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b"\xff\xfe", 400, "no text in UTF-8"),
        ("{}".encode("utf-16"), 400, "no text in UTF-8"),
        (b"\xef\xbb\xbf{}", 422, "'latitude'|'time'"),
        (b'{"time": NaN}', 400, "NaN"),
        (b'{"time": -Infinity}', 400, "Infinity"),
        (b"[" * 100_000, 400, "deep"),
        (b"1" * 5000, 400, "not valid JSON"),
        (b"[]", 422, "list"),
        (b"null", 422, "The body is null; expected an object"),
        (b"{}", 422, "'latitude'|'time'"),
        (b'{"time": "now"}', 422, "time"),
    ],
    ids=[
        "empty",
        "cut",
        "binary",
        "utf-16",
        "mark",
        "nan",
        "infinity",
        "deep",
        "digits",
        "list",
        "null",
        "bare",
        "text",
    ],
)
def test_malformed_json(client, body, status, says):
    detail = problem(post(client, body), status)["detail"]
    assert any(word in detail for word in says.split("|")), detail


def changed(made, change):
    body = made.as_json(made.fields(4))
    change(body)
    return json.dumps(body)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b.update(surprise=1), "'surprise'"),
        (lambda b: b.pop("latitude"), "'latitude'"),
        (lambda b: b["variables"].clear(), "variables"),
        (lambda b: b["variables"].update(time={"values": []}), "'time'"),
        (lambda b: b["variables"]["t2m"].pop("values"), "values"),
        (lambda b: b["variables"]["t2m"].update(units=7), "units"),
        (lambda b: b["variables"]["t2m"].update(values=b["variables"]["t2m"]["values"][0]), "(8, 10)"),
        (lambda b: b["variables"]["t2m"].update(values=[[[1], [1, 2]]]), "ragged"),
        (lambda b: b["variables"]["t2m"].update(values="warm"), "expected numbers"),
        (lambda b: b["variables"]["t2m"]["values"][0][1].__setitem__(0, "280"), "expected numbers"),
        (
            lambda b: b["variables"]["t2m"]["values"][0][1].__setitem__(0, 10**400),
            "outside the range of float64",
        ),
        (
            lambda b: b["variables"]["t2m"].update(values=[[[True, 2.5]]]),
            "values holds true or false; expected",
        ),
        (lambda b: b.update(latitude=[1.0, *[True] * 7]), "latitude holds true or false; expected numbers"),
        (lambda b: b.update(further=[None]), "further[0] is null; expected an object"),
        (
            lambda b: b["variables"]["t2m"].update(values="warm"),
            "values holds text; expected numbers or null",
        ),
        (lambda b: b["variables"].update(t2m=[1]), "t2m is a list; expected an object with units and values"),
        (lambda b: b.update(time=None), "time is null; expected a list"),
        (lambda b: b.update(time=[]), "(0, 8, 10)"),
        (lambda b: b.update(latitude=[]), "(4, 0, 10)"),
        (lambda b: b.update(latitude=[[1], [2]]), "latitude"),
        (lambda b: b.update(latitude=[None] * 8), "latitude"),
        (lambda b: b["time"].__setitem__(2, "noon"), "time[2]"),
        (lambda b: b["time"].__setitem__(2, "2020-02-30"), "time[2]"),
        (lambda b: b.update(calendar="mayan"), "mayan"),
        (lambda b: b.update(calendar=[]), "calendar"),
        (lambda b: b.update(calendar="\ud800"), r"\ud800"),
        (lambda b: b.update(calendar="x" * 10_000), "10000 bytes in the calendar"),
        (lambda b: b.update({"\ud800": 1}), r"\ud800"),
        (lambda b: b["time"].__setitem__(2, "\ud800"), r"\ud800"),
        (lambda b: b["variables"]["t2m"].update(units="\ud800"), r"\ud800"),
        (lambda b: b["variables"].update({"\ud800": {}}), r"\ud800"),
    ],
)
def test_json_of_another_form(client, made, change, says):
    problem(post(client, changed(made, change)), 422, says)


def test_number_beyond_float64(client, made):
    body = json.dumps(made.as_json(made.fields(4))).replace("null", "1e999", 1)
    problem(post(client, body), 422, "outside the range of float64", "[0, 0, 0]")


def test_zero_size_everywhere(client, made):
    body = {"time": [], "latitude": [], "longitude": [], "variables": {"t2m": {"units": "K", "values": []}}}
    problem(post(client, body), 422)
    body = made.as_json(made.fields(3))
    body["time"], body["variables"]["t2m"]["values"] = [], np.zeros((0, 8, 10)).tolist()
    problem(post(client, body), 422)


# What the model needs


def named(ds, **names):
    return ds.rename(names)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda ds: ds.rename(t2m="temperature"), "variable", "t2m"),
        (lambda ds: ds.assign(t2m=ds.t2m.assign_attrs(units="degC")), "units", "degC"),
        (lambda ds: ds.isel(latitude=slice(1, None)), "grid", "lat"),
        (lambda ds: ds.assign_coords(longitude=ds.longitude + 1), "grid", "lon"),
        (lambda ds: ds.isel(time=slice(0, 2)), "window", "3"),
        (lambda ds: ds.isel(time=slice(None, None, 2)), "time-axis", "6h"),
        (lambda ds: ds.assign_coords(time=ds.time.values[::-1]), None, ""),
        (lambda ds: ds.assign(t2m=ds.t2m.where(ds.t2m < 0)), "missing-values", "t2m"),
    ],
    ids=["variable", "units", "size", "extent", "frames", "step", "order", "missing"],
)
def test_fields_that_do_not_fit_the_model(client, made, change, kind, says):
    answer = post(client, made.as_netcdf(change(made.fields())), made.NETCDF)
    if kind is None:
        assert answer.status_code in (200, 422)
        return
    document = problem(answer, 422, says)
    assert document["type"] == f"urn:stconv:problem:{kind}"


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
@pytest.mark.parametrize(
    "head", [b"", b"CDF\x01", b"CDF\x02", b"\x89HDF\r\n\x1a\n"], ids=["none", "1", "2", "hdf5"]
)
def test_random_bytes(client, made, head, size):
    body = head + np.random.default_rng(size).bytes(size)
    problem(post(client, body, made.NETCDF), 422, "NetCDF")


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_truncated_file(client, made, engine):
    body = made.as_netcdf(made.fields(), engine)
    for share in (0.1, 0.5, 0.99):
        answer = post(client, body[: int(share * len(body))], made.NETCDF)
        assert answer.status_code == 422, answer.text


def test_attributes_that_do_not_decode(client, made):
    ds = made.fields()
    ds = ds.assign_coords(time=("time", np.arange(ds.sizes["time"]), {"units": "parsecs since noon"}))
    problem(post(client, made.as_netcdf(ds), made.NETCDF), 422, "parsecs")


# Below HTTP


def raw(port, *pieces, timeout=LIMIT_SECONDS):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while more := connection.recv(65536):
                received += more
                if b"\r\n\r\n" in received and received.endswith((b"}", b"\r\n0\r\n\r\n")):
                    break
        except (ConnectionResetError, TimeoutError):
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, body.decode("utf-8", "replace")


def request(length, body):
    head = f"POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{length}\r\n"
    return head.encode() + body


def test_length_that_claims_more_than_comes(service):
    status, body = raw(service.port, request("Content-Length: 1000\r\n", b"{}"))
    assert status == 408
    assert "3 s" in body


def test_length_that_claims_terabytes(service):
    status, body = raw(service.port, request("Content-Length: 8000000000000\r\n", b"{}"))
    assert status == 413
    assert "8000000000000" in body


@pytest.mark.parametrize(
    "length",
    ["Content-Length: -1\r\n", "Content-Length: many\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n"],
)
def test_length_that_is_none(service, length):
    assert raw(service.port, request(length, b"{}"))[0] == 400


def test_length_that_claims_less_than_comes(service):
    """The rest is no part of the request: `{` alone is no JSON."""
    assert raw(service.port, request("Content-Length: 1\r\n", b'{"time": []}'))[0] == 400


@pytest.mark.parametrize(
    "head",
    [
        "POST /v1/forecasts HTTP/1.1\r\nContent-Length: 40\r\nTransfer-Encoding: chunked",
        "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        "POST /v1/forecasts HTTP/1.0\r\nTransfer-Encoding: chunked",
    ],
)
def test_a_body_of_two_lengths_ends_the_connection(service, head):
    """RFC 9112, 6.1: what follows may be another's request to a proxy before us."""
    follows = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=LIMIT_SECONDS) as connection:
        connection.sendall(f"{head}\r\nHost: localhost\r\n\r\n".encode() + follows)
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"ambiguous" in received
    assert b"smuggled" not in received


@pytest.mark.parametrize(
    ("target", "status"), [("http://localhost/livez", 200), ("http://evil.example/livez", 421)]
)
def test_a_target_with_a_host(service, target, status):
    """RFC 9112, 3.2.2: it is served, and its host counts, not the header's."""
    assert raw(service.port, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())[0] == status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: rot13\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nX: " + "x" * 70_000, 431),
    ],
    ids=["nonsense", "no host", "coding", "long"],
)
def test_what_is_not_http_is_a_problem(service, text, status):
    found, body = raw(service.port, text.encode())
    assert found == status
    assert json.loads(body)["status"] == status


def test_garbage_instead_of_http(service, client):
    assert raw(service.port, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")[0] == 400
    assert raw(service.port, b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n")[0] in (400, 431, None)
    assert client.get("/readyz").status_code == 200


def test_the_server_is_well_after_all_this(client, made):
    assert post(client, made.as_netcdf(made.fields()), made.NETCDF).status_code == 200
    text = client.get("/metrics").text
    assert 'stconv_worker_restarts_total{model="air"} 0.0' in text
    assert 'status="500"' not in text
