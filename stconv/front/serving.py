"""The service in a process of its own, for as long as a `with` block lasts: `stconv.serve`."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stconv.errors import ServiceError
from stconv.front.model import Model
from stconv.front.registry import Version
from stconv.front.run import Run

if TYPE_CHECKING:
    import xarray as xr

    from stconv.client import Client

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 20
SETTINGS = "STCONV_SERVE_"
"""Prefix of the service's settings in the environment."""


class Service:
    """A running service.

    Attributes:
        url: Its address, such as http://127.0.0.1:40123; a browser shows a map there.
        name: Name of the served model.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name

    @property
    def client(self) -> Client:
        """A client of the service, for everything that it answers."""
        from stconv.client import Client

        return Client(self.url)

    def forecast(self, data: xr.Dataset, steps: int | None = None, **options: Any) -> xr.Dataset:
        """Forecast over HTTP; see `stconv.client.Client.forecast`."""
        with self.client as client:
            return client.forecast(data, steps=steps, **options)

    def __repr__(self) -> str:
        return f"Service of {self.name} at {self.url}"

    def _repr_html_(self) -> str:
        from stconv.front.html import service_html

        return service_html(self.name, self.url)


@contextlib.contextmanager
def serve(
    model: Model | Run | Version | str | Path,
    *,
    name: str | None = None,
    port: int = 0,
    data: str | Path | Sequence[str | Path] = (),
    log: str | Path | None = None,
    **settings: Any,
) -> Iterator[Service]:
    """Serve a model until the block ends, as `stconv serve` does, in a process of its own.

    Settings of a service in the environment (`STCONV_SERVE_*`) do not apply.

    Args:
        model: A model, a run, a version, or a reference as for `stconv.load`.
        name: Name of the model for clients; default: that of the reference or of the bundle.
        port: Port to listen on, on this machine alone; 0 takes a free one.
        data: Files with the newest data, watched for new times.
        log: File for what the service says; default: a temporary one.
        **settings: Further settings of the service, such as max_steps=100.

    Yields:
        The service, ready to answer.

    Raises:
        ServiceError: It could not start, or was not ready in time; the message has its last words.
    """
    reference = _reference(model)
    command = [sys.executable, "-m", "stconv", "serve", "--model", reference, "--port", str(port)]
    command += [] if name is None else ["--name", name]
    paths = [data] if isinstance(data, str | Path) else list(data)
    command += ["--data", *map(str, paths)] if paths else []
    with tempfile.TemporaryDirectory(prefix="stconv-serve-") as folder:
        output = Path(log) if log is not None else Path(folder, "serve.log")
        with output.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=_environment(settings)
            )
        try:
            yield _wait_until_ready(process, output)
        finally:
            process.terminate()
            try:
                process.wait(timeout=STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _reference(model: Model | Run | Version | str | Path) -> str:
    if isinstance(model, Model):
        is_registered = model.reference.startswith("models:/")
        return model.reference if is_registered else str(model.folder)
    if isinstance(model, Run):
        return f"runs:/{model.id}"
    return model.reference if isinstance(model, Version) else str(model)


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return kept | {"PYTHONUNBUFFERED": "1"} | {f"{SETTINGS}{n.upper()}": str(v) for n, v in settings.items()}


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> Service:
    import httpx

    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(
                f"The service ended with status {process.returncode}:\n{log.read_text()[-2000:]}"
            )
        said = log.read_text()
        found = re.search(r"^\s*(http://\S+)$", said, re.MULTILINE)
        if found:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{found.group(1)}/readyz", timeout=5).status_code == 200:
                    named = re.search(r"^Serving (.+), version ", said, re.MULTILINE)
                    return Service(found.group(1), named.group(1) if named else "")
        time.sleep(0.1)
    raise ServiceError(
        f"The service was not ready after {START_TIMEOUT_SECONDS} s:\n{log.read_text()[-2000:]}"
    )
