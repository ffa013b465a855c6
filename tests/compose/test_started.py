"""The compose set, started: images, training, TLS, a killed server, a new champion, backup, confinement.

It is no part of `make test`, because it needs root, podman and package sources, and takes minutes.
`make test-compose` runs the tests in this order; each starts from what the one before left.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import xarray as xr

from compose.images import ROOT, build, provide
from compose.podman import Podman, container
from compose.project import DIFFERENCES, KEY, Project
from stconv.client import Client
from stconv.datasets.recipes.synthetic import generate
from waiting import until

NEEDED = ("podman", "runc", "iptables", "mmdebstrap")
LARGEST_IMAGE = 1.5e9
ALL = ("postgres", "mlflow", "service", "replica", "proxy", "prometheus", "grafana")
OURS = ("service", "replica")
USERS = {
    "postgres": 70,
    "mlflow": 10002,
    "service": 10001,
    "replica": 10001,
    "proxy": 0,
    "prometheus": 65534,
    "grafana": 472,
}
BIND_PORTS = 1 << 10
"""The capability that the proxy keeps."""
FORMATS = ("application/x-netcdf", "application/json", "application/prs.coverage+json", "image/png")
READY = (
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/readyz', timeout=9).read().decode())"
)
TRIED = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


def say(text):
    print(f"  compose: {text}", file=sys.__stderr__, flush=True)


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing or os.geteuid():
        pytest.fail(f"make test-compose needs root, and programs that are not here: {missing or 'none'}.")
    return Podman(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="module")
def sizes(podman, tmp_path_factory):
    """Bytes of our images."""
    standins = provide(podman, tmp_path_factory.mktemp("standins"))
    say(f"stand-ins of Debian's packages, of which nothing is proved: {', '.join(standins) or 'none'}")
    found = {name: build(podman, name) for name in ("service", "mlflow")}
    say(f"images: {', '.join(f'{name} {size / 1e9:.2f} GB' for name, size in found.items())}")
    return found


@pytest.fixture(scope="module")
def project(request, podman, sizes):
    """The set up to MLflow; whatever happens, logs are printed after a failure, and all is removed."""
    say(f"changed for podman: {DIFFERENCES}")
    made = Project(podman.project)
    generate(made.data / "made.nc", n_steps=400, n_lat=12, n_lon=16)
    failed = request.session.testsfailed
    remove(podman)
    try:
        start(podman, "postgres", "mlflow")
        yield made
    finally:
        if request.session.testsfailed > failed or not running(podman, "service"):
            for name in ALL:
                logs = subprocess.run(
                    ["podman", "logs", "--tail", "40", container(name)],
                    capture_output=True,
                    text=True,
                    check=False,
                    env=podman.environment,
                )
                say(f"log of {name}:\n{logs.stdout}{logs.stderr}")
        remove(podman)


@pytest.fixture(scope="module")
def champion(podman, project):
    """A version that was trained, tested, registered and promoted inside."""
    train(podman, seed=0)
    promote(podman)
    return project


@pytest.fixture(scope="module")
def served(podman, champion):
    """The whole set."""
    start(podman, "service")
    start(podman, *(name for name in ALL if name not in {"postgres", "mlflow", "service"}))
    return champion


@pytest.fixture(scope="module")
def trust(podman, served):
    """The certificate authority of the proxy."""
    root = "/data/caddy/pki/authorities/local/root.crt"
    return ssl.create_default_context(
        cadata=until(lambda: podman.inside("proxy", "cat", root), ignore=(AssertionError,))
    )


@pytest.fixture(scope="module")
def proxy(served, trust):
    """An HTTP client that asks through the proxy."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(
        base_url=f"https://localhost:{served.ports['proxy']}", verify=trust, headers=headers, timeout=120
    ) as client:
        until(lambda: client.get("/readyz").status_code == 200, ignore=(httpx.TransportError,))
        yield client


def start(podman, *names):
    """Start services in the order of their needs, and wait until each is healthy."""
    for name in names:
        podman.compose("up", "-d", "--no-build", "--no-deps", name)
        until(
            lambda name=name: healthy(podman, name), says=lambda name=name: f"{name} is not healthy", pause=1
        )


def healthy(podman, name):
    try:
        podman("healthcheck", "run", container(name))
    except AssertionError:
        return False
    return True


def running(podman, name):
    return podman("inspect", "--format", "{{.State.Running}}", container(name), check=False).strip() == "true"


def remove(podman):
    podman.compose("down", "--volumes", check=False)
    left = podman("ps", "-aq", "--filter", "name=stconv_test_").split()
    if left:
        podman("rm", "-f", *left)
    for volume in podman("volume", "ls", "-q", "--filter", "name=stconv_test_").split():
        podman("volume", "rm", "-f", volume)


INSIDE = ("run", "--rm", "--no-deps", "-T", "trainer")


def train(podman, seed):
    """Train, test and register a version as the guide says: in a container beside the tracking server."""
    name = f"seed {seed}"
    options = ("--config", "/srv/observations/experiment.yaml", "--seed_everything", str(seed))
    named = ("--trainer.logger.init_args.run_name", name)
    podman.compose(*INSIDE, "fit", *options, *named, seconds=900)
    podman.compose(*INSIDE, "test", *options, *named, seconds=900)
    podman.compose(*INSIDE, "register", name, "--name", "air", seconds=900)


def promote(podman):
    """Make the newest version the champion, whatever its skill."""
    podman.compose(*INSIDE, "promote", "air", "--force", seconds=900)


def versions(podman):
    """The version that each of our servers serves and follows."""
    told = [json.loads(podman.inside(name, "python", "-c", READY)) for name in OURS]
    return [one["following"]["air"]["version"] for one in told]


def window(project, frames=3):
    with xr.open_dataset(project.data / "made.nc") as ds:
        return ds.isel(time=slice(-frames, None)).load()


class Recording(httpx.HTTPTransport):
    """Counts the statuses of all answers, those that the client asks again after included."""

    def __init__(self, **options):
        super().__init__(**options)
        self.statuses = []

    def handle_request(self, request):
        answer = super().handle_request(request)
        self.statuses.append(answer.status_code)
        return answer


class Askers:
    """Threads that ask through the proxy for one forecast after the other, as long as the block lasts."""

    def __init__(self, project, trust, n=3):
        self.url, self.trust = f"https://localhost:{project.ports['proxy']}", trust
        self.asked = window(project)  # read here: netCDF4 is not for several threads
        self.forecasts, self.lost, self.statuses = 0, [], []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more(6)
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, n):
        """Wait for n further forecasts."""
        aim = self.forecasts + n
        until(lambda: self.forecasts >= aim or self.lost, says=lambda: f"{self.forecasts} of {aim}")

    def _ask(self):
        transport = Recording(verify=self.trust)
        with Client(self.url, key=KEY, transport=transport) as client:
            while not self._over.is_set():
                try:
                    answer = client.forecast(self.asked)
                    assert np.isfinite(answer["t2m"].values).all()
                    self.forecasts += 1
                except Exception as error:
                    self.lost.append(repr(error))
        self.statuses += transport.statuses


def told(asking):
    again = len(asking.statuses) - asking.statuses.count(200)
    return f"{asking.forecasts} forecasts, none lost, {again} of them asked again after 502 or 503"


def test_the_image_of_the_service_is_small(sizes):
    assert sizes["service"] <= LARGEST_IMAGE


def test_every_module_loads_in_the_image(podman, project):
    loads = (
        "import importlib, pkgutil, stconv, service\n"
        "for package in (stconv, service):\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
    )
    podman.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "trainer", "-c", loads)


def test_a_model_is_trained_and_promoted_inside(podman, champion):
    asked = (
        "from mlflow import MlflowClient as C; "
        "print(C().get_model_version_by_alias('air', 'champion').version)"
    )
    words = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "trainer", "-c", asked)
    assert podman.compose(*words).split()[-1] == "1"


@pytest.mark.parametrize("accept", FORMATS)
def test_every_format_is_given_through_the_proxy(proxy, served, accept):
    body = bytes(window(served).to_netcdf(engine="h5netcdf"))
    headers = {"Content-Type": "application/x-netcdf", "Accept": accept}
    answer = proxy.post("/v1/forecasts", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(accept)


def test_the_forecast_of_the_own_data_the_page_and_the_documents_are_there(proxy):
    until(lambda: proxy.get("/v1/forecasts").json()["forecasts"])
    for path in (
        "/",
        "/v1/models",
        "/v1/forecasts/latest",
        "/edr/",
        "/edr/collections",
        "/zarr",
        "/openapi.json",
    ):
        answer = proxy.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:200]}"
    assert proxy.get("/v1/models", headers={"Authorization": ""}).status_code == 401


@pytest.mark.parametrize("name", ALL)
def test_a_container_is_confined_and_healthy(podman, served, name):
    said = podman.inside(name, "sh", "-c", "id -u; cat /proc/1/status; touch /x /etc/x 2>&1 || true")
    assert int(said.split()[0]) == USERS[name]
    assert int(re.search(r"CapEff:\s*(\w+)", said)[1], 16) == (BIND_PORTS if name == "proxy" else 0)
    assert re.search(r"NoNewPrivs:\s*1", said)
    assert said.count("Read-only file system") == 2 or said.count("Permission denied") == 2
    state = json.loads(podman("inspect", container(name)))[0]
    wanted = served.services[name]
    assert state["HostConfig"]["ReadonlyRootfs"] is True
    assert (
        state["HostConfig"]["Memory"]
        == int(wanted["mem_limit"][:-1]) * {"g": 2**30, "m": 2**20}[wanted["mem_limit"][-1]]
    )
    assert state["HostConfig"]["PidsLimit"] == wanted["pids_limit"]
    assert state["HostConfig"]["NanoCpus"] == 1e9 or state["HostConfig"]["CpuQuota"] == 100_000
    joined = {network.removeprefix("stconv_test_") for network in state["NetworkSettings"]["Networks"]}
    assert joined == set(wanted["networks"])
    assert healthy(podman, name)


def test_networks_keep_apart_what_does_not_talk(podman, served):
    def reaches(name, host, port):
        try:
            podman.inside(name, "python3", "-c", TRIED, host, str(port))
        except AssertionError:
            return False
        return True

    assert reaches("service", "mlflow", 5000)
    assert reaches("mlflow", "postgres", 5432)
    assert reaches("grafana", "prometheus", 9090)
    assert not reaches("proxy", "mlflow", 5000)
    assert not reaches("proxy", "postgres", 5432)
    assert not reaches("prometheus", "postgres", 5432)
    for name in ("postgres", "mlflow", "prometheus"):
        routes = podman.inside(name, "cat", "/proc/net/route").splitlines()[1:]
        assert all(route.split()[1] != "00000000" for route in routes), f"{name} has a way out"


def test_prometheus_reads_both_servers_and_grafana_asks_it(podman, served):
    query = "http://127.0.0.1:9090/api/v1/query?query=up"

    def up():
        found = json.loads(podman.inside("prometheus", "wget", "-qO-", query))["data"]["result"]
        return {one["metric"]["instance"] for one in found if one["value"][1] == "1"}

    until(lambda: up() == {"service:8000", "replica:8000"}, says=up, pause=1)
    answer = httpx.get(f"http://127.0.0.1:{served.ports['grafana']}/api/health", timeout=60)
    assert answer.status_code == 200


def test_no_forecast_is_lost_when_a_server_is_killed(podman, proxy, served, trust):
    with Askers(served, trust) as asking:
        podman("kill", "--signal", "KILL", container("service"))
        asking.more(30)
        podman("start", container("service"), check=False)
        until(lambda: healthy(podman, "service"), pause=1)
        asking.more(10)
    assert not asking.lost
    say(f"a server killed: {told(asking)}")


def test_both_servers_follow_a_new_champion_and_lose_no_forecast(podman, proxy, served, trust):
    assert versions(podman) == ["1", "1"]
    train(podman, seed=1)
    with Askers(served, trust) as asking:
        promote(podman)
        promoted = time.monotonic()
        until(lambda: versions(podman) == ["2", "2"], says=lambda: versions(podman))
        seconds = time.monotonic() - promoted
        asking.more(10)
    assert not asking.lost
    assert set(asking.statuses) <= {200, 503}, asking.statuses
    say(f"both servers on the new champion {seconds:.0f} s after `stconv promote`; {told(asking)}")


def test_backup_and_restore_as_the_runbook_says(podman, proxy, served):
    body = bytes(window(served).to_netcdf(engine="h5netcdf"))
    ask = {"content": body, "headers": {"Content-Type": "application/x-netcdf", "Accept": "application/json"}}
    before = without_time(proxy.post("/v1/forecasts", **ask))
    text = (ROOT / "docs/how-to/runbooks.md").read_text()
    section = text.partition("## Back up and restore")[2].partition("\n## ")[0]
    backup, restore = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for line in backup.splitlines():
        by_hand(podman, line)
    podman.compose("down", "--volumes")
    assert not podman("volume", "ls", "-q", "--filter", "name=stconv_test_database").split()
    for line in restore.splitlines():
        if line == "docker compose up --wait postgres":
            start(podman, "postgres")
        elif line == "docker compose up --wait":
            start(podman, "mlflow", "service", "replica", "proxy")
        else:
            by_hand(podman, line)
    root = "/data/caddy/pki/authorities/local/root.crt"
    context = ssl.create_default_context(
        cadata=until(lambda: podman.inside("proxy", "cat", root), ignore=(AssertionError,))
    )
    headers = ask["headers"] | {"Authorization": f"Bearer {KEY}"}
    url = f"https://localhost:{served.ports['proxy']}/v1/forecasts"
    after = httpx.post(url, content=body, headers=headers, verify=context, timeout=120)
    assert without_time(after) == before
    assert versions(podman) == ["2", "2"]
    fetched = (
        "import mlflow; mlflow.artifacts.download_artifacts('models:/air@champion', dst_path='/tmp/got')"
    )
    podman.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "trainer", "-c", fetched)


def without_time(answer):
    """The forecast of an answer, without the time at which it was made."""
    assert answer.status_code == 200, answer.text
    forecast = answer.json()
    del forecast["attributes"]["history"]
    return forecast


def by_hand(podman, line):
    """A line of the runbook, with podman-compose in the place of docker compose."""
    command = f"{sys.executable} -m podman_compose -p stconv_test"
    subprocess.run(
        ["bash", "-ec", line.replace("docker compose", command)],
        cwd=podman.project,
        env=podman.environment,
        check=True,
        capture_output=True,
        timeout=300,
    )


def test_nothing_is_left(podman, served):
    remove(podman)
    assert not podman("ps", "-aq", "--filter", "name=stconv_test_").split()
    assert not Path(podman.project / "secrets").stat().st_mode & 0o007
