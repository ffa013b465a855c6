"""The process a model runs in: loads one bundle, then answers; requests that come together are one batch."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.problems import NO_ROOM, disk_is_full
from service.wire.codec import decode
from stconv.compute.allocation import keep_freed_memory

if TYPE_CHECKING:
    import xarray as xr

    from stconv.compute.engine import Engine

log = logging.getLogger(__name__)
SWITCH_SECONDS = 0.0002
"""Python's default of 5 ms is how long every operation of the network would wait for a thread at the desk."""
BEHIND_THE_SERVER = 5
"""Niceness: the server has little to do and everybody waits for it, a refusal most of all."""
WARM_UP = -1
"""Number of the request that is none."""


@dataclass(frozen=True)
class Load:
    """What a process loads, and how it works; sent to it when it starts.

    Attributes:
        bundle: Folder of the bundle, local.
        version: What the forecasts name as model version; None is a part of the hash.
        sha256: Expected hash of the bundle; None takes any whose files fit its manifest.
        data: Files that points are forecast from.
        threads: Of the model; None as torch chooses.
        engine: What computes the network, see `stconv.compute.engine`.
        tile: Cells of a tile, as for Forecaster.
        max_batch: Windows in one batch.
        batch_seconds: How long a window waits for others that may join it.
    """

    bundle: str
    version: str | None = None
    sha256: str | None = None
    data: tuple[str, ...] = ()
    threads: int | None = None
    engine: Engine = "torch"
    tile: int | None = None
    max_batch: int = 8
    batch_seconds: float = 0.003


def run(connection: Connection, load: Load) -> None:
    """Load, warm up, say so, and answer until the pipe closes.

    Messages: a JSON header, then a body. The first one sent is `ready` with the input schema, or `failed`.
    Requests have a number, which their answer repeats; answers come in any order.

    Args:
        connection: The server's pipe.
        load: What to load.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server drains first, then closes the pipe
    sys.setswitchinterval(SWITCH_SECONDS)
    warnings.simplefilter("ignore")  # what is unusual about an input is in the answer
    os.nice(BEHIND_THE_SERVER)
    keep_freed_memory()
    _name_process("stconv-model")
    try:
        model = _Model(load)
    except Exception as error:
        _send(connection, {"status": "failed", "error": type(error).__name__, "message": str(error)})
        return
    forecaster = model.forecaster
    _send(connection, {"status": "ready", "schema": forecaster.input_schema(), "version": model.version})
    sending = threading.Lock()

    def work(request: dict[str, Any], body: bytes) -> None:
        header, answer = _worked(model, request, body)
        with sending, suppress(OSError):  # the server has left
            _send(connection, {"number": request["number"]} | header, answer)

    threads = ThreadPoolExecutor(2 * load.max_batch, thread_name_prefix="request")
    with suppress(EOFError, OSError):
        while True:
            request = json.loads(connection.recv_bytes())
            body = connection.recv_bytes()
            if request["kind"] == "end":
                break
            if request["kind"] == "drop":
                forecaster.drop(request["number"])
            else:
                forecaster.announce(request["number"])
                threads.submit(work, request, body)
            del body
    threads.shutdown(wait=False, cancel_futures=True)


class _Model:
    def __init__(self, load: Load) -> None:
        import torch

        from service.model.archiving import Archivist
        from service.model.batching import BatchingForecaster
        from service.model.forms import Forms
        from service.model.rollouts import Rollouts
        from service.model.source import Source
        from stconv.bundle import Bundle
        from stconv.errors import BundleError, ConfigError

        if load.threads:
            torch.set_num_threads(load.threads)
        bundle = Bundle.load(load.bundle)
        if load.sha256 not in (None, bundle.hash):
            raise BundleError(
                f"The bundle in '{load.bundle}' has the hash {bundle.hash}; expected {load.sha256}. "
                "It is not the one that was meant."
            )
        self.forecaster = BatchingForecaster(
            bundle,
            version=load.version,
            engine=load.engine,
            tile=load.tile,
            max_batch=load.max_batch,
            wait_seconds=load.batch_seconds,
        )
        if self.forecaster.outputs != self.forecaster.targets:
            raise ConfigError(
                f"'{self.forecaster.bundle.name}' forecasts the probability of an event, and the service "
                "answers fields. Use `stconv forecast`."
            )
        self.version = self.forecaster.version
        self.source = Source([Path(path) for path in load.data], self.forecaster)
        self.rollouts = Rollouts()
        self.forms = Forms(self.forecaster)
        self.archivist = Archivist(self.forecaster, self.source)
        self._latest: tuple[Any, xr.Dataset] | None = None
        self.forecaster.announce(WARM_UP)
        with self.forecaster.at_desk(WARM_UP):
            self._warm_up()

    def _warm_up(self) -> None:
        """Run and write once, so that the first client does not wait for what is made on first use.

        Raises:
            DataError: The network gives no numbers.
        """
        import torch

        from service.formats.writers import WRITERS
        from service.media_types import PNG
        from service.model.example import example_upload
        from stconv.errors import StconvError

        schema, frames = self.forecaster.input_schema(), len(self.forecaster.offsets)
        sizes = [schema["grid"][dim]["size"] for dim in schema["grid"]["dims"]]
        self.forecaster.predict(
            {
                "inputs": torch.full((1, len(self.forecaster.variables), frames, *sizes), torch.nan),
                "input_cycles": torch.zeros(1, frames, 3),
                "target_cycles": torch.zeros(1, self.forecaster.leads, 3),
                "reference_index": torch.zeros(1, dtype=torch.int64),
            }
        )
        if self.forecaster.step.kind != "fixed":
            return
        with suppress(StconvError):  # an example can not know everything that a model asks for
            forecast = self.forms.forecast(example_upload(schema), None)
            for media_type in WRITERS.keys() - {PNG}:
                WRITERS[media_type](forecast)

    def forecast(self, body: bytes, steps: int | None, bands: bool) -> xr.Dataset:
        """Forecast from uploaded fields."""
        return self._with_warnings(self.forms.forecast(body, steps, bands))

    def begin_job(self, request: dict[str, Any], body: bytes) -> None:
        """Check the input of a long forecast; its leads are computed by `Rollouts`, block by block."""
        from service.model.forms import as_dataset
        from service.model.rollouts import Rollout

        ds = as_dataset(*decode(body))
        self.rollouts.begin(request["job"], Rollout(self.forecaster, ds, request["steps"]))

    def latest(self, steps: int | None) -> xr.Dataset:
        """Forecast from the configured data; kept until the files change."""
        steps = steps or self.forecaster.leads
        state = (steps, self.source.state())
        if self._latest is None or self._latest[0] != state:
            ds, origin = self.source.open()
            forecast = self.forecaster.forecast(ds, steps=steps, origin=origin)
            self._latest = state, self._with_warnings(forecast).load()
        return self._latest[1]

    def stored(self, request: dict[str, Any]) -> xr.Dataset:
        """A stored forecast, or the truth at its valid times."""
        from service.model.stored_fields import observed, stored_forecast

        path = Path(request["path"])
        return observed(path, self.source) if request["kind"] == "truth" else stored_forecast(path)

    def _with_warnings(self, forecast: xr.Dataset) -> xr.Dataset:
        """Say in the answer what the library warned of."""
        from stconv.forecast import OlderWindowWarning

        warned = self.forecaster.work.warnings
        older = [str(w.message) for w in warned if issubclass(w.category, OlderWindowWarning)]
        return forecast.assign_attrs(older_window="; ".join(older)) if older else forecast


def _worked(model: _Model, request: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    """Answer one request, with the seconds that its parts took."""
    from service.model.batching import Dropped

    came = time.perf_counter()
    try:
        with model.forecaster.at_desk(request["number"]) as work:
            began = time.perf_counter()
            header, answer = _answer(model, request, body)
            ended = time.perf_counter()
    except Dropped:
        return {"status": "dropped"}, b""
    seconds = {
        "desk": began - came,
        "forecast": work.forecast_seconds,
        "work": ended - began - work.forecast_seconds,
    }
    return header | {"seconds": seconds, "batch": work.batch}, answer


def _answer(model: _Model, request: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    from service.model.batching import Dropped
    from stconv.errors import StconvError

    try:
        if request["kind"] == "point":
            return _point(model, request)
        if request["kind"] == "edr":
            return _edr(model, request)
        if request["kind"] == "archive":
            return {"status": "ok", "media_type": "", "facts": model.archivist.step(request)}, b""
        if request["kind"] in ("stored", "truth"):
            return _written(model.stored(request), request)
        if request["kind"] == "job-begin":
            model.begin_job(request, body)
            return {"status": "ok", "media_type": ""}, b""
        if request["kind"] == "job-step":
            return _job_step(model, request)
        steps = request["steps"]
        forecast = (
            model.latest(steps)
            if request["kind"] == "latest"
            else model.forecast(body, steps, request["bands"])
        )
        return _written(forecast, request)
    except Dropped:
        raise
    except StconvError as error:
        return {"status": "refused", "error": type(error).__name__, "message": str(error)}, b""
    except Exception as error:
        log.exception("a %s request failed", request["kind"])
        print(f"stconv: {request['kind']} request failed: {error!r}", file=sys.stderr, flush=True)
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # PyTorch has no type for it
            said = "There is not enough memory for this forecast now."
            return {"status": "refused", "error": "ServiceError", "message": said}, b""
        if disk_is_full(error):
            return {"status": "refused", "error": "ServiceError", "message": NO_ROOM}, b""
        return {"status": "refused", "error": type(error).__name__, "message": ""}, b""


def _point(model: _Model, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from service.formats.answers import chosen
    from service.media_types import JSON
    from service.model.point import point_answer

    found = chosen(model.latest(request["steps"]), request["variables"], request["bands"])
    where = request["latitude"], request["longitude"]
    return _headed(found, JSON), point_answer(found, model.forecaster.step, *where)


def _edr(model: _Model, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from service.model.edr_cut import edr_answer

    found = model.stored(request) if "path" in request else model.latest(request["steps"])
    return _headed(found, request["media_type"]), edr_answer(found, request)


def _written(forecast: xr.Dataset, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from service.formats.answers import chosen
    from service.formats.writers import WRITERS

    media_type = request["media_type"]
    return _headed(forecast, media_type), WRITERS[media_type](
        chosen(forecast, request["variables"], request.get("bands", True))
    )


def _job_step(model: _Model, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from service.model.rollouts import job_answer

    facts, forecast = job_answer(model.rollouts, request)
    if forecast is None:
        return {"status": "ok", "media_type": "", "facts": facts}, b""
    header, body = _written(forecast, request)
    return header | {"facts": facts}, body


def _headed(forecast: xr.Dataset, media_type: str) -> dict[str, Any]:
    from service.formats.statement import forecast_headers

    return {"status": "ok", "media_type": media_type, "headers": forecast_headers(forecast)}


def _send(connection: Connection, header: dict[str, Any], body: bytes = b"") -> None:
    connection.send_bytes(json.dumps(header).encode())
    connection.send_bytes(body)


def _name_process(name: str) -> None:
    """What `ps` and `top` show, where the system lets a process say it."""
    comm = Path("/proc/self/comm")
    if comm.exists():
        comm.write_text(name)
