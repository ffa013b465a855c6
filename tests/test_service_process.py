"""Workers that die or hang, overload, signals, keys: a real server and real processes."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from waiting import until

SMALL = {"queue_size": "2", "max_batch": "1"}
"""Two requests are with the model, two wait."""


@pytest.fixture(scope="module")
def body(made):
    return made.as_netcdf(made.fields())


@pytest.fixture(scope="module")
def server(made, service_bundle):
    running = made.Server(
        "--model",
        str(service_bundle),
        **SMALL,
    )
    yield running
    running.kill()


@pytest.fixture
def impatient(made, service_bundle):
    """A server whose limits are reached; long enough for four requests to come in one after another."""
    running = made.Server("--model", str(service_bundle), **SMALL, deadline_seconds="12", hang_seconds="20")
    yield running
    running.kill()


def post(client, body):
    return client.post("/v1/forecasts", content=body, headers={"Content-Type": "application/x-netcdf"})


def post_and_forget(client, body):
    with contextlib.suppress(httpx.TransportError):
        post(client, body)


def counted(client, name):
    """A metric; 0 before it was first counted."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1]) if lines else 0.0


def is_ready(client):
    return client.get("/readyz").status_code == 200


def is_queued(client, n):
    """The places with the model are taken, and n requests wait behind them."""
    return counted(client, "stconv_queue_length") == n


@contextlib.contextmanager
def stopped(server):
    """The model's process stands still, as if it computed without end."""
    pid = server.model_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_worker_killed_while_it_waits_is_replaced(server, body):
    with server.client() as client:
        assert post(client, body).status_code == 200
        old = server.model_pid()
        os.kill(old, signal.SIGKILL)
        answer = post(client, body)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/livez").status_code == 200
        until(lambda: is_ready(client))
        assert post(client, body).status_code == 200
        assert server.model_pid() != old
        assert counted(client, "stconv_worker_restarts_total") == 1


@pytest.mark.slow
def test_worker_killed_at_work_fails_its_requests_only(server, body):
    """The two that were with it; the one that waited is answered by the next."""
    with server.client() as client, ThreadPoolExecutor(3) as pool:
        with stopped(server):
            running = [pool.submit(post, client, body) for _ in range(3)]
            until(lambda: is_queued(client, 1))
            os.kill(server.model_pid(), signal.SIGKILL)
            answers = [each.result() for each in running]
        assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
        assert all("lost" in answer.json()["detail"] for answer in answers if answer.status_code == 503)
        assert is_ready(client)
        assert post(client, body).status_code == 200


@pytest.mark.slow
def test_overload_deadline_and_hang(impatient, body):
    """Two are with the model, two wait, the fifth is refused at once; then 504; then a new worker."""
    with impatient.client() as client, ThreadPoolExecutor(4) as pool:
        assert post(client, body).status_code == 200, "the parser runs"
        with stopped(impatient):
            waiting = [pool.submit(post, client, body) for _ in range(4)]
            until(lambda: is_queued(client, 2))
            refused = post(client, body)
            assert not any(late.done() for late in waiting), "it was refused before any of them was answered"
            assert refused.status_code == 503
            assert refused.json()["limit"] == 4
            assert refused.headers["retry-after"] == "1"
            for late in waiting:
                answer = late.result()
                assert answer.status_code == 504
                assert answer.json()["limit_seconds"] == 12
            until(lambda: not is_ready(client))
        until(lambda: is_ready(client))
        assert counted(client, "stconv_worker_restarts_total") == 1
        assert post(client, body).status_code == 200


def test_requests_of_clients_that_left_are_dropped(server, body):
    left = 'stconv_dropped_total{model="air",reason="client left"}'
    head = "POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-netcdf\r\n" + (
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with server.client() as client:
        computed = counted(client, 'stconv_forecast_seconds_count{model="air"}')
        before = counted(client, left)
        with stopped(server):
            connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
            for connection in connections:
                connection.sendall(head.encode() + body)
            until(lambda: is_queued(client, 2))
            for connection in connections:
                connection.close()
            until(lambda: counted(client, left) == before + 4)
            until(lambda: is_queued(client, 0))
        assert post(client, body).status_code == 200
        assert counted(client, 'stconv_forecast_seconds_count{model="air"}') <= computed + 2, (
            "one was begun, one comes after"
        )


def test_sigterm_drains_and_ends_with_0(server, body):
    """Last of those that share the server."""
    with server.client() as client, ThreadPoolExecutor(3) as pool:
        with stopped(server):
            running = [pool.submit(post, client, body) for _ in range(3)]
            until(lambda: is_queued(client, 1))
            server.process.send_signal(signal.SIGTERM)
            until(lambda: not is_ready(client))
            refused = post(client, body)
            assert refused.status_code == 503
            assert "shutting down" in refused.json()["detail"]
        assert [each.result().status_code for each in running] == [200] * 3, "what was under way is finished"
    assert server.wait() == 0
    assert server.model_pid() is None
    assert "Traceback" not in server.output


def test_the_end_of_a_drain_answers_what_is_not_finished(made, service_bundle, body):
    """A request with the model, one that waits, and a body that does not come."""
    server = made.Server("--model", str(service_bundle), max_batch="1", drain_seconds="1")
    head = (
        "POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-netcdf\r\n"
        "Content-Length: 100\r\n\r\n"
    )
    try:
        with (
            server.client() as client,
            ThreadPoolExecutor(3) as pool,
            socket.create_connection(("127.0.0.1", server.port)) as slow,
            stopped(server),
        ):
            slow.sendall(head.encode())
            running = [pool.submit(post, client, body) for _ in range(3)]
            until(lambda: is_queued(client, 1))
            server.process.send_signal(signal.SIGTERM)
            for each in running:
                answer = each.result()
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert "could not finish" in answer.json()["detail"]
            assert slow.recv(100).startswith(b"HTTP/1.1 503 ")
        assert server.wait() == 0
        assert "Traceback" not in server.output
    finally:
        server.kill()


@pytest.fixture(scope="module")
def keyed(made, service_bundle):
    hashed = hashlib.sha256(b"open sesame").hexdigest()
    running = made.Server(
        *("--model", str(service_bundle), "--host", "0.0.0.0"),
        api_keys=f"{'0' * 64},{hashed}",
        drain_seconds="3600",
    )
    running.url = running.url.replace("0.0.0.0", "127.0.0.1")
    yield running
    running.kill()


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/air", "/v1/forecast?latitude=1&longitude=1", "/metrics"]
)
def test_a_key_is_needed(keyed, path):
    with keyed.client() as client:
        for headers in (
            {},
            {"Authorization": "Bearer closed"},
            {"X-API-Key": "0" * 64},
            {"Authorization": "Basic x"},
        ):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
        for headers in ({"Authorization": "Bearer open sesame"}, {"X-API-Key": "open sesame"}):
            assert client.get(path, headers=headers).status_code != 401


def test_a_key_is_needed_to_forecast(keyed, body):
    with keyed.client() as client:
        assert post(client, body).status_code == 401
        client.headers["X-API-Key"] = "open sesame"
        assert post(client, body).status_code == 200
        assert client.get("/readyz", headers={"X-API-Key": ""}).status_code == 200


def test_point_without_data(keyed):
    with keyed.client(headers={"X-API-Key": "open sesame"}) as client:
        answer = client.get("/v1/forecast?latitude=1&longitude=1")
    assert answer.status_code == 404
    assert "--data" in answer.json()["detail"]


def test_second_sigterm_ends_at_once(keyed, body):
    with keyed.client(headers={"X-API-Key": "open sesame"}) as client, stopped(keyed):
        threading.Thread(target=post_and_forget, args=(client, body)).start()
        until(lambda: counted(client, "stconv_requests_in_flight") == 2)  # that one, and this question
        keyed.process.send_signal(signal.SIGTERM)
        until(lambda: not is_ready(client))
        assert keyed.process.poll() is None, "the first waits for what is under way"
        keyed.process.send_signal(signal.SIGTERM)
        keyed.wait()  # gives up long before the hour that this server has to drain


@pytest.mark.slow
def test_tampered_bundle(made, service_bundle, tmp_path):
    folder = shutil.copytree(service_bundle, tmp_path / "air")
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    server = made.Server("--model", str(folder), ready=False)
    assert server.wait() == 1
    assert "weights.safetensors" in server.output
    assert "Traceback" not in server.output


@pytest.mark.slow
def test_sigterm_while_loading(made, service_bundle):
    server = made.Server("--model", str(service_bundle), ready=False)
    pid = until(server.model_pid)
    os.kill(pid, signal.SIGSTOP)  # so that it is loading when the signal comes
    assert "Loading" in server.output
    assert "Ctrl-C" not in server.output
    assert server.terminate() == 0
    assert server.model_pid() is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), 503),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), 503),
        (RuntimeError("a fault of ours"), 500),
    ],
)
def test_a_model_out_of_memory_says_come_back(error, status):
    from types import SimpleNamespace

    from service.model.process import answer_request
    from service.problems import refusal
    from service.wire.model_messages import ForecastNewest, Form

    def newest(steps):
        raise error

    asked = ForecastNewest(None, Form("application/json", None))
    answer = answer_request(SimpleNamespace(newest=newest), asked)
    problem = refusal(answer.code, answer.detail)
    assert problem.status == status
    assert "fault of ours" not in problem.detail, "what failed inside stays inside"


@pytest.mark.parametrize(("accept", "limit"), [("application/json", 100), ("application/x-netcdf", 1000)])
def test_the_price_of_text_is_known_before_work(accept, limit):
    from types import SimpleNamespace

    from service.problems import TooLarge
    from service.routes.prices import check_price
    from service.settings import Settings

    facts = SimpleNamespace(n_cells=20, leads=2, targets=["a"], bands=[], directions=[])
    worker, settings = SimpleNamespace(facts=facts), Settings(max_output_values=1000, max_text_values=100)
    check_price(worker, limit // 20, settings, accept)
    with pytest.raises(TooLarge, match=str(limit + 20)) as raised:
        check_price(worker, limit // 20 + 1, settings, accept)
    assert raised.value.status == 413
    assert raised.value.extra == {"values": limit + 20, "limit": limit}
