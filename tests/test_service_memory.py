"""Memory of the server process: it loads no library of the models, wherever the model comes from."""

import asyncio
import shutil
import subprocess
import sys

import pytest

from stconv.errors import TrackingError

HEAVY = {"mlflow", "torch", "xarray", "pandas", "scipy"}
LIMIT_MB = 200


def loaded(code):
    """Modules of HEAVY that are loaded after this code."""
    code += "\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(run.stdout.split())


def test_server_and_command_load_no_library_of_the_models():
    assert not loaded(
        "import service.server, service.launch, stconv.cli.serve, stconv.cli.main, service.workers.last_good"
    )


@pytest.fixture(scope="module")
def registry(service_bundle, tmp_path_factory):
    """Address of a real tracking store with the model `air`, whose version 1 is the champion."""
    import mlflow

    folder = tmp_path_factory.mktemp("registry")
    shutil.copytree(service_bundle, folder / "1" / "bundle")
    address = f"sqlite:///{folder}/mlflow.db"
    client = mlflow.MlflowClient(address)
    client.create_registered_model("air")
    client.create_model_version("air", str(folder / "1"))
    client.set_registered_model_alias("air", "champion", "1")
    return address


@pytest.mark.slow
def test_a_registered_model_is_served_in_little_memory(registry, service_server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    monkeypatch.setenv("STCONV_CACHE", str(tmp_path))
    server = service_server.Server("--model", "models:/air@champion")
    try:
        with server.client() as client:
            body, header = (
                service_server.as_netcdf(service_server.fields()),
                {"Content-Type": service_server.NETCDF},
            )
            for _ in range(20):
                answer = client.post("/v1/forecasts", content=body, headers=header)
                assert answer.status_code == 200
            assert client.get("/v1/models/air").json()["version"] == "1"
        with open(f"/proc/{server.process.pid}/status") as status:
            (resident,) = (int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
        assert resident < LIMIT_MB
    finally:
        server.kill()


@pytest.mark.slow
def test_what_the_registry_lacks_is_said_through_the_process_that_asked(registry, tmp_path, monkeypatch):
    from service.workers.last_good import fetch

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    with pytest.raises(TrackingError, match="has no alias 'candidate'"):
        asyncio.run(fetch("models:/air@candidate", tmp_path))
