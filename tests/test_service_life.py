"""Life and death of the service's processes: hangs are noticed, and the end leaves nothing behind."""

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from waiting import until

SPINNING = """
import os
from stconv.models import Conv3D

forward = Conv3D.forward

def spin(self, *args, **options):
    while os.path.exists({file!r}):
        pass
    return forward(self, *args, **options)

Conv3D.forward = spin
"""
"""In the model's process: the network does not return while a file is there."""


def family(pid):
    """Ids of a process and of all that came from it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = [pid]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def state(pid):
    """Letter of a process's state; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def post(server, body, made):
    return httpx.post(
        f"{server.url}/v1/forecasts", content=body, headers={"Content-Type": made.NETCDF}, timeout=300
    )


@pytest.mark.slow
def test_a_model_that_hangs_is_noticed_without_a_request_and_replaced(made, service_bundle, tmp_path):
    """Its process is stopped; then, by the probe, its network loops for ever."""
    file = tmp_path / "spin"
    (tmp_path / "spinning.py").write_text(SPINNING.format(file=str(file)))
    server = made.Server(
        *("--model", str(service_bundle), "--import", str(tmp_path / "spinning.py")), hang_seconds="5"
    )
    body = made.as_netcdf(made.fields())
    try:
        for begin, end, says in (
            (lambda pid: os.kill(pid, signal.SIGSTOP), lambda: None, "gave no sign of life for 5 s"),
            (lambda pid: file.touch(), file.unlink, "the computation of a forecast takes longer than"),
        ):
            assert post(server, body, made).status_code == 200
            began = time.monotonic()
            begin(server.model_pid())
            ready = until(lambda: not_ready(server))
            assert time.monotonic() - began < 30, "10 s, on a machine that is not busy"
            assert says in ready.json()["detail"]
            refused = post(server, body, made)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert httpx.get(f"{server.url}/livez").status_code == 200
            end()
            until(lambda: not not_ready(server))
            assert post(server, body, made).status_code == 200
        metrics = httpx.get(f"{server.url}/metrics").text
        assert 'stconv_worker_restarts_total{model="air"} 2.0' in metrics
    finally:
        server.kill()


def not_ready(server):
    answer = httpx.get(f"{server.url}/readyz")
    return answer if answer.status_code == 503 else None


def test_nothing_outlives_a_server_that_is_killed(made, service_bundle, service_data):
    """Not even processes that are stopped."""
    server = made.Server("--model", str(service_bundle), "--data", str(service_data))
    children = family(server.process.pid)[1:]
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
    assert names == {"stconv-model", "stconv-forks", "stconv-parser"}
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(state(pid) == "T" for pid in children))
    server.kill()
    until(lambda: not any(state(pid) not in ("", "Z") for pid in children))


def test_a_process_killed_or_stopped_costs_no_upload(made, service_bundle):
    """Spare parsers, and the process that they are forked from."""
    server = made.Server("--model", str(service_bundle), parsers="1")
    body = json.dumps(made.as_json(made.fields()))

    def children(name):
        return [
            pid for pid in family(server.process.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == name
        ]

    try:
        for name, number in (
            ("stconv-parser", signal.SIGKILL),
            ("stconv-forks", signal.SIGKILL),
            ("stconv-parser", signal.SIGSTOP),
        ):
            until(lambda: children("stconv-parser"), ignore=(OSError,))
            for pid in children(name):
                os.kill(pid, number)
            answer = httpx.post(
                f"{server.url}/v1/forecasts", content=body, headers={"Content-Type": made.JSON}, timeout=300
            )
            assert answer.status_code == 200, (name, number, answer.text)
    finally:
        server.kill()
