"""Fixtures of several test files: the folder of real data, and a small generated file."""

import importlib
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

collect_ignore = ["compose", "nodes"]  # started by `make test-compose` and `make test-nodes` only

hypothesis.settings.register_profile("any machine", deadline=None)  # no example has to be quick
hypothesis.settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # the shell's choice for a process in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _load(name: str) -> ModuleType:
    """A file of this folder that is no test; test files cannot import each other."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets; a test that needs it is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STCONV_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"real data not at hand: no folder {folder} (set STCONV_SHARED_DATA)")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: several only cost time where everything is tiny."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seeded(one_thread: None) -> None:
    """Draw the same random numbers in every run, on one thread."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """Convolutions and their gradients in plain NumPy: tests/oracle.py."""
    return _load("oracle")


@pytest.fixture(scope="session")
def service_server() -> ModuleType:
    """A real server in a process of its own, and what to ask it: tests/service_server.py."""
    return _load("service_server")


@pytest.fixture(scope="session")
def service_bundle(service_server: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small bundle."""
    folder: Path = service_server.save_bundle(tmp_path_factory.mktemp("bundle") / "air")
    return folder


@pytest.fixture(scope="session")
def service_data(service_server: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the server forecasts points from."""
    path: Path = tmp_path_factory.mktemp("data") / "analysis.nc"
    path.write_bytes(service_server.as_netcdf(service_server.fields()))
    return path


@pytest.fixture(scope="session")
def service(service_server: ModuleType, service_bundle: Path, service_data: Path) -> Iterator[Any]:
    """A running server with small limits, shared by tests that leave it as it is."""
    server = service_server.Server(
        *("--model", str(service_bundle), "--data", str(service_data)),
        max_body_bytes=str(service_server.BODY_LIMIT),
        max_decoded_bytes=str(service_server.DECODED_LIMIT),
        body_seconds="3",
        watch_seconds="1",
    )
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(service: Any) -> Iterator[Any]:
    """An HTTP client of the shared server."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def made(service_server: ModuleType) -> ModuleType:
    """The module `service_server` by a short name, for files that make many inputs."""
    return service_server


@pytest.fixture(scope="session")
def library(service_bundle: Path) -> Any:
    """The forecaster of the small bundle, in this process."""
    from stconv.forecast import Forecaster

    return Forecaster.from_path(service_bundle)


@pytest.fixture(scope="session")
def reference_pages() -> Any:
    """The writers of the reference: docs/reference_pages, which need no Sphinx."""
    import sys

    docs = str(Path(__file__).resolve().parents[1] / "docs")
    sys.path.insert(0, docs)
    try:
        return importlib.import_module("reference_pages")
    finally:
        sys.path.remove(docs)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a window, for one file of tests: while it is open, no other event loop can run."""
    from playwright.sync_api import sync_playwright

    from page_visit import CHROMIUM
    from waiting import LIMIT_SECONDS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            timeout=1000 * LIMIT_SECONDS,
        )
        yield browser
        browser.close()
