"""The tracking store: opening it, and finding runs in it."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from stconv.errors import TrackingError
from stconv.passwords import without_password
from stconv.tracking.run_layout import TEST_METRIC

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SQLITE = "sqlite:///"
DEFAULT_URI = f"{SQLITE}mlflow.db"
MAX_RUNS = 1000
"""Number of runs that are searched, newest first."""


@dataclass(frozen=True)
class RunInfo:
    """Facts on a run that need none of its artifacts.

    Attributes:
        run_id: MLflow's identifier.
        name: Name of the run, such as "stconvs2s_r".
        experiment: Name of its experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: Start time, UTC.
        metrics: Latest value of each metric.
        params: Parameters as text.
        tags: Tags, including those of MLflow.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started: datetime
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def tested(self) -> bool:
        """Whether the run has scores on the test period."""
        return TEST_METRIC in self.metrics

    def __str__(self) -> str:
        return f"{self.name} ({self.run_id[:8]}, {self.experiment}, {self.started:%Y-%m-%d %H:%M} UTC)"


def tracking_uri() -> str:
    """Address of the tracking store: MLFLOW_TRACKING_URI, or else `mlflow.db` in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def shown_uri() -> str:
    """Address of the tracking store for a message or a log, without its password."""
    return without_password(tracking_uri())


def connect(reading: bool = False) -> MlflowClient:
    """Open the tracking store.

    Args:
        reading: Refuse to create a new, empty local store.

    Raises:
        TrackingError: `reading`, and there is no local store.
    """
    uri, folder = tracking_uri(), None
    if uri.startswith(SQLITE):
        path = Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))
        uri = uri.replace(str(path), str(path.absolute()), 1)  # MLflow keeps a store open for each address
        if reading and not path.exists():
            raise TrackingError(
                f"No experiments are recorded here: {shown_uri()} does not exist in '{Path.cwd()}'. Go "
                "to the folder in which you ran `stconv fit`, or set MLFLOW_TRACKING_URI."
            )
        folder = path.absolute().parent
    # One bounded attempt: MLflow's default of seven with doubling delays would stop a training for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    for noisy in ("mlflow.store.db.utils", "alembic", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with explained("open the tracking store"), _one_at_a_time(folder):
        return MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


@contextmanager
def _one_at_a_time(folder: Path | None) -> Iterator[None]:
    """Let one process after the other open the store of a folder: MLflow makes its tables without a lock.

    The lock is on the folder itself and leaves no file. A file system that has no such locks goes without.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def experiment_id_of(client: MlflowClient, name: str) -> str:
    """Id of an experiment, which is made if there is none, by this process or by another one meanwhile."""
    from mlflow import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn errors of MLflow and its transports into a TrackingError that names the action and the address."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:  # MLflow does not wrap errors of requests, SQLAlchemy and the operating system
        text = without_password(str(error).strip())
        reason = text.splitlines()[0] if text else type(error).__name__
        raise TrackingError(
            f"Could not {action} at {shown_uri()}: {reason}\nCheck that the server runs and that "
            "MLFLOW_TRACKING_URI names it; without that variable runs are recorded in ./mlflow.db."
        ) from error


def list_runs(experiment: str | None = None, name: str | None = None) -> list[RunInfo]:
    """List runs, newest first.

    Args:
        experiment: List runs of this experiment only.
        name: List runs of this name only.

    Raises:
        TrackingError: There is no such experiment, or the store does not answer.
    """
    client = connect(reading=True)
    with explained("list the runs"):
        known = {e.name: e.experiment_id for e in client.search_experiments()}
        if experiment is not None and experiment not in known:
            names = ", ".join(sorted(set(known) - {"Default"})) or "none"
            raise TrackingError(f"No experiment '{experiment}' at {shown_uri()}. There are: {names}.")
        wanted = known if experiment is None else {experiment: known[experiment]}
        by_id = {experiment_id: name for name, experiment_id in wanted.items()}
        runs = client.search_runs(list(by_id), order_by=["attributes.start_time DESC"], max_results=MAX_RUNS)
    infos = [run_info(run, by_id[run.info.experiment_id]) for run in runs]
    return [info for info in infos if name is None or info.name == name]


def find_run(run: str | None = None, experiment: str | None = None) -> RunInfo:
    """Find one run.

    Args:
        run: Its id, the first characters of its id, or its name (then the newest of that name). None: the
        newest.
        experiment: Look in this experiment only.

    Raises:
        TrackingError: There is none, or the store does not answer.
    """
    candidates = list_runs(experiment)
    if run is not None:
        run = run.removeprefix("runs:/").split("/")[0]
        exact = [info for info in candidates if info.run_id == run or info.name == run]
        candidates = exact or [info for info in candidates if len(run) >= 4 and info.run_id.startswith(run)]
    if not candidates:
        where = f" in experiment '{experiment}'" if experiment else ""
        known = ", ".join(dict.fromkeys(info.name for info in list_runs(experiment))) or "none"
        raise TrackingError(
            f"No run{f' {run!r}' if run else ''}{where} at {shown_uri()}. Runs there: {known}."
        )
    return candidates[0]


def run_info(run: Run, experiment: str) -> RunInfo:
    """Convert MLflow's run."""
    return RunInfo(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id[:8],
        experiment=experiment,
        status=run.info.status,
        started=datetime.fromtimestamp((run.info.start_time or 0) / 1000, UTC),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
    )


def download(reference: str, subpath: str = "") -> Path:
    """Get an artifact to this machine; a local one stays in its place.

    Args:
        reference: Run id, `runs:/ID`, or the URI or path of an artifact.
        subpath: File or folder below it, such as "verification/scores.nc".

    Raises:
        TrackingError: There is no such artifact, or the store does not answer.
    """
    uri = reference
    if reference.startswith("runs:/") or ("/" not in reference and ":" not in reference):
        run_id, _, inside = reference.removeprefix("runs:/").partition("/")
        client = connect(reading=True)
        with explained(f"find run {run_id}"):
            uri = f"{client.get_run(run_id).info.artifact_uri}/{inside}"
    uri = "/".join(
        part.strip("/") if i else part.rstrip("/") for i, part in enumerate((uri, subpath)) if part
    )
    parsed = urlsplit(uri)
    if parsed.scheme in {"", "file"}:
        local = Path(unquote(parsed.path))
    else:
        folder = Path(_scratch.name) / hashlib.sha256(uri.encode()).hexdigest()[:16]
        import mlflow

        with explained(f"download {uri}"):
            local = Path(
                mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=tracking_uri())
            )
    if not local.exists():
        raise TrackingError(
            f"There is no '{subpath or local.name}' with {reference}: '{local}' does not exist. Was the "
            "run tested, and is this the machine that holds its files?"
        )
    return local


_scratch = tempfile.TemporaryDirectory(prefix="stconv-artifacts-", ignore_cleanup_errors=True)
atexit.register(_scratch.cleanup)
"""Downloaded artifacts; removed when the process ends."""
