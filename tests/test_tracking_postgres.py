"""The tracking server of docker-compose.yml, run natively: MLflow on a real PostgreSQL."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql import empty_database, free_port
from service.workers.alias_version import alias_version
from stconv.bundle import Bundle
from stconv.datasets.recipes.synthetic import generate
from stconv.tracking import find_run, promote, register, resolve_bundle
from waiting import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

EXPERIMENT = """
data: {{paths: {path}, inputs: [t2m], t_in: 3, leads: 2, scaling: anomaly, batch_size: 16}}
model:
  network:
    class_path: stconv.models.Increment
    init_args:
      network: {{class_path: stconv.models.Conv3D, init_args: {{n_layers: 1, n_filters: 4, kernel: 3}}}}
  loss: {{class_path: stconv.losses.MaskedMSE}}
trainer:
  accelerator: cpu
  max_epochs: 2
  enable_progress_bar: false
  logger: {{class_path: stconv.tracking.RunLogger, init_args: {{experiment_name: made, run_name: small}}}}
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """Address of an empty database on a server of its own."""
    with empty_database() as address:
        yield address


@pytest.fixture(scope="module")
def tracking_server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server, started as the compose file starts it."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1",
         f"--artifacts-destination={folder / 'artifacts'}"],
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": database}, cwd=folder, stdout=log, stderr=log,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until(
            lambda: server.poll() is not None or urllib.request.urlopen(f"{url}/health", timeout=5),
            ignore=(OSError,),
            says=(folder / "log").read_text,
            pause=0.5,
        )
        assert server.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        server.terminate()
        server.wait(LIMIT_SECONDS)
        log.close()


def test_from_training_to_champion_on_postgresql(
    tracking_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    monkeypatch.chdir(tmp_path)
    path = generate(tmp_path / "made.nc", n_steps=400, n_lat=8, n_lon=8)
    (tmp_path / "small.yaml").write_text(EXPERIMENT.format(path=path))
    for command in ("fit", "test"):
        argv = [sys.executable, "-m", "stconv", command, "--config", "small.yaml"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    run = find_run("small", "made")
    assert run.tested
    assert register(run.run_id, "made") == 1
    promote("made", force=True)
    assert alias_version("models:/made@champion") == "1"
    bundle = Bundle.load(resolve_bundle("models:/made@champion"))
    assert bundle.spec["leads"] == 2
    assert bundle.spec["variables"][0]["name"] == "t2m"
