"""A Lightning logger for MLflow with a folder of its own, which survives the loss of the server."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from stconv.bundle import code_version
from stconv.tracking.outbox import Outbox
from stconv.tracking.run_layout import LONG_PARAMETERS, TAG_COMMAND, TAG_COMMIT, TAG_FOLDER, TAG_VERSION
from stconv.tracking.store import RunInfo, connect, experiment_id_of, explained, shown_uri
from stconv.tracking.watchdog import Watchdog

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

MAX_PARAM_LENGTH = 500
"""Longer values go into `long_parameters.json`, because MLflow silently cuts them at 6,000 characters."""
PARAMS_PER_REQUEST = 100
"""MLflow's limit."""
REFUSED = re.compile(r"[^\w\-. :]")
"""Characters that MLflow refuses in a name or reads as a folder; a variable may be called "O3 [ppb]"."""


class RunLogger(Logger):
    """Record a run in MLflow, and a complete copy in the folder `save_dir/experiment_name/RUN_ID`.

    The tracking store is opened when training starts: MLFLOW_TRACKING_URI, or else `sqlite:///mlflow.db`. A
    server that does not answer at the start is an error, because nothing is lost yet. If it is lost later, a
    warning is given, and the missed records are sent when it is back or stay in the folder.

    Args:
        experiment_name: Experiment of the run; created if it does not exist.
        run_name: Name of the run; runs of one configuration share it. None names it after `subject` and the
            time at which it starts, such as "UNet 2026-03-01 14:05:09".
        run_id: Continue this run instead of starting one.
        tags: Tags of the run.
        save_dir: Parent of the folders of runs.
    """

    def __init__(
        self,
        experiment_name: str,
        run_name: str | None = None,
        run_id: str | None = None,
        tags: dict[str, str] | None = None,
        save_dir: str = "runs",
    ) -> None:
        super().__init__()
        self.run_name = run_name
        self.subject = experiment_name
        """First part of the name of a run that is given none; the command line sets it to the network."""
        self.interrupted = False
        """Set when the user stopped the run, which then ends as KILLED instead of FAILED."""
        self.watchdog: Watchdog | None = None
        """Marks the run FAILED if this process is killed."""
        self._experiment_name = experiment_name
        self._run_id = run_id
        self._continues = run_id is not None
        self._keeps_status = False
        self._tags = dict(tags or {})
        self._save_dir = save_dir
        self._client: MlflowClient | None = None
        self._outbox = Outbox("")

    @classmethod
    def going_on(cls, run: RunInfo) -> RunLogger:
        """A logger that adds to a finished run, in the folder it has if that is on this machine."""
        folder = Path(run.tags.get(TAG_FOLDER, ""))
        known = folder.is_dir() and folder.name == run.run_id
        logger = cls(run.experiment, run_name=run.name, save_dir=str(folder.parents[1]) if known else "runs")
        logger.attach(run.run_id, keep_status=True)
        return logger

    def attach(self, run_id: str, keep_status: bool) -> None:
        """Continue a run; call it before anything is logged.

        Args:
            run_id: The run.
            keep_status: Leave its status as it is (a test of a finished training).
        """
        self._run_id, self._continues, self._keeps_status = run_id, True, keep_status

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self._experiment_name

    @property
    def version(self) -> str | None:
        """The run id."""
        return self.run_id

    @property
    def run_id(self) -> str | None:
        """The run id; reading it starts the run."""
        self.start()
        return self._run_id

    @property
    def continues(self) -> bool:
        """Whether the run existed before."""
        return self._continues

    @property
    def started(self) -> bool:
        """Whether the run is open."""
        return self._client is not None

    @property
    def save_dir(self) -> str:
        """Parent of the folders of runs."""
        return self._save_dir

    @property
    def log_dir(self) -> str:
        """Folder of this run."""
        return str(Path(self._save_dir, self.name, self.version or "version_0"))

    @property
    def root_dir(self) -> str:
        """Folder of the experiment."""
        return str(Path(self._save_dir, self.name))

    @property
    def experiment(self) -> RunLogger:
        """The logger itself; Lightning reads it to start the run."""
        self.start()
        return self

    @rank_zero_only
    def start(self) -> None:
        """Start or continue the run, once.

        Raises:
            TrackingError: The store does not answer, or there is no such run.
        """
        if self._client is not None:
            return
        client = connect()
        self._outbox = Outbox(shown_uri())
        with explained("continue the run" if self._continues else "start a run"):
            if self._run_id is not None:
                client.get_run(self._run_id)
                if not self._keeps_status:
                    client.update_run(self._run_id, status="RUNNING")
            else:
                experiment_id = experiment_id_of(client, self._experiment_name)
                name = self.run_name or f"{self.subject} {datetime.now():%Y-%m-%d %H:%M:%S}"
                run = client.create_run(experiment_id, run_name=name, tags=self._first_tags())
                self._run_id = run.info.run_id
        self._client = client
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        self.set_tag(TAG_FOLDER, str(Path(self.log_dir).resolve()))

    def _first_tags(self) -> dict[str, str]:
        code = code_version()
        tags = {TAG_VERSION: str(code["stconv"]), TAG_COMMAND: " ".join(sys.argv)[:500]}
        if code["commit"]:
            tags[TAG_COMMIT] = str(code["commit"])
        return tags | self._tags

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics; infinite ones are kept in the folder only, because MLflow returns them as 1.8e308."""
        from mlflow.entities import Metric

        client, run_id = self._opened()
        now = int(time.time() * 1000)
        values = {name: float(value) for name, value in metrics.items()}
        line = {"step": step or 0, "time_ms": now, **values}
        with Path(self.log_dir, "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        batch = [
            Metric(REFUSED.sub("_", name), value, now, step or 0)
            for name, value in values.items()
            if not math.isinf(value)
        ]
        self._outbox.put(f"metrics of step {step or 0}", lambda: client.log_batch(run_id, metrics=batch))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log parameters; nested ones by dotted names, lists as JSON, None left out."""
        from mlflow.entities import Param

        client, run_id = self._opened()
        flat = flatten(vars(params) if hasattr(params, "__dict__") else params)
        long = {name: value for name, value in flat.items() if len(value) > MAX_PARAM_LENGTH}
        if long:
            self.log_text(LONG_PARAMETERS, json.dumps(long, indent=2))
        rows = [
            Param(REFUSED.sub("_", name), f"see {LONG_PARAMETERS}" if name in long else value)
            for name, value in flat.items()
        ]
        for i in range(0, len(rows), PARAMS_PER_REQUEST):
            send = partial(client.log_batch, run_id, params=rows[i : i + PARAMS_PER_REQUEST])
            self._outbox.put("parameters", send)

    @rank_zero_only
    def set_tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        client, run_id = self._opened()
        self._outbox.put(f"tag {name}", lambda: client.set_tag(run_id, name, value))

    @rank_zero_only
    def log_text(self, name: str, text: str) -> None:
        """Store a text as a file of the run, in its folder and in MLflow."""
        path = Path(self.log_dir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.log_artifact(path)

    @rank_zero_only
    def log_artifact(self, path: str | Path) -> None:
        """Send a file or folder inside `log_dir`; its relative path is kept."""
        client, run_id = self._opened()
        path = Path(path)
        inside = path.resolve().relative_to(Path(self.log_dir).resolve())

        def send() -> None:
            if path.is_dir():
                client.log_artifacts(run_id, str(path), str(inside))
            else:
                parent = None if inside.parent == Path() else str(inside.parent)
                client.log_artifact(run_id, str(path), parent)

        self._outbox.put(f"artifact {inside}", send)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run, and report the records that the server did not receive."""
        if self._client is None:
            return
        client, run_id = self._opened()
        ended = {"success": "FINISHED", "failed": "KILLED" if self.interrupted else "FAILED"}.get(
            status, status.upper()
        )
        if not self._keeps_status:
            self._outbox.put(f"status {ended}", lambda: client.set_terminated(run_id, ended))
        if self.watchdog is not None:
            self.watchdog.done()
            self.watchdog = None
        if not self._outbox.flush():
            missing = [record.what for record in self._outbox.waiting]
            path = Path(self.log_dir, "not_sent.json")
            path.write_text(json.dumps(missing, indent=2))
            log.warning(
                "%d records never reached %s; they are listed in %s, and all of them are kept in %s.",
                len(missing),
                self._outbox.address,
                path.name,
                self.log_dir,
            )

    def _opened(self) -> tuple[MlflowClient, str]:
        self.start()
        assert self._client is not None
        assert self._run_id is not None
        return self._client, self._run_id


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Join keys of nested values by dots, as the command line does; lists become JSON, None is left out."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            flat[name] = json.dumps(value, default=str)
        elif value is not None:
            flat[name] = str(value)
    return flat
